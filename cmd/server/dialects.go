package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/fault"
	"docket/eventstore"
	"docket/internal/config"
	"docket/internal/httpx"
	"docket/internal/idempotency"
	"docket/internal/postgres"
	"docket/projections"
	"docket/readapi/access"
	readqalyptus "docket/readapi/qalyptus"
	readqlik "docket/readapi/qlik"
	"docket/readapi/query"
	writeqalyptus "docket/writeapi/qalyptus"
	writeqlik "docket/writeapi/qlik"
)

// serve registers every dialect and hangs them on the listeners.
func (s *Server) serve() {
	reader := query.NewReader(s.pools.List, query.Options{Version: s.version, Points: s.pools.Main})
	resolver := access.NewResolver(s.pools.List)
	base := func(name string) httpx.Dialect {
		return httpx.Dialect{
			Authenticate: resolver.Bearer, Allow: access.Allow,
			Classify:   httpx.UnavailableWhen(postgres.IsUnavailable, func(err error) bool { return errors.Is(err, eventstore.ErrUnavailable) }),
			Middleware: []httpx.Middleware{idempotency.Middleware(s.idempotency, principal), requests(name)},
		}
	}
	contents := access.NewContents(s.pools.List)

	qalyptus := httpx.NewAPI(readqalyptus.Describe(base("qalyptus")))
	reads := readqalyptus.Register(qalyptus, reader)
	writeqalyptus.Register(writeqalyptus.Config{API: qalyptus, Bus: s.bus, Reads: reads, Contents: contents, Vault: s.vault, Forget: resolver.Forget,
		MaxKeyLife: time.Duration(s.config.APIKeyMaxDays) * 24 * time.Hour})

	d := readqlik.Describe(base("qlik"))
	if s.config.RateLimits {
		d.Limit = readqlik.NewRates(contents.Users).Take
	}
	qlik := httpx.NewAPI(d)
	writeqlik.Register(writeqlik.Config{API: qlik, Bus: s.bus, Reads: readqlik.Register(qlik, reader)})

	admin := s.administration(base("admin"))
	safeq := s.safeqAPI(base("safeq"), reader, resolver)

	s.site = &httpx.Site{
		Options:  httpx.Options{Logger: s.log, Metrics: s.tel.Metrics, PublicURL: s.config.PublicURL},
		Gatherer: s.tel.Metrics, Tracing: s.tel.Tracing, Checks: s.checks(),
		APIs: []*httpx.API{qalyptus, qlik, safeq, admin},
	}
	if s.config.Roles.Has(config.API) {
		s.listeners[0].Handler = s.site.Main()
	}
	if len(s.listeners) > 1 {
		s.listeners[1].Handler = s.site.Own(safeq)
	}
}

// principal names the caller to the idempotency keys.
func principal(ctx context.Context) string {
	actor, _ := domain.ActorOf(ctx)
	// The same user in another organization sees other things.
	return actor.Tenant.String() + "/" + actor.UserID.String()
}

// requests hands the request of a write on to the commands.
func requests(dialect string) httpx.Middleware {
	return func(op *httpx.Operation, next httpx.Handler) httpx.Handler {
		if !op.Writes() {
			return next
		}
		return func(w http.ResponseWriter, r *http.Request) error {
			ctx := r.Context()
			in := idempotency.From(ctx)
			request := &commands.Request{ID: in.ID, Now: in.Now.UTC().Truncate(time.Microsecond), Retry: in.Retry, Held: in.Held, Dialect: dialect, Traceparent: httpx.Traceparent(ctx)}
			return next(w, r.WithContext(commands.WithRequest(ctx, request)))
		}
	}
}

// version is the position up to which a table's rows are current.
func (s *Server) version(table string) (uint64, bool) {
	position, ok := s.engine.Committed(groupOf(table))
	return uint64(position), ok
}

// groupOf is the projection group of a table named with its schema.
func groupOf(table string) string {
	schema, _, _ := strings.Cut(table, ".")
	return strings.TrimPrefix(schema, "rm_")
}

// checks are the conditions of readiness.
func (s *Server) checks() []httpx.Check {
	return []httpx.Check{
		{Name: "eventstore", Run: func(ctx context.Context) (string, error) {
			kind := "EventStoreDB"
			if s.embedded != nil {
				kind = "embedded"
				if s.embedded.Log().Stats().Full {
					kind = "embedded; its disk is full, so that nothing can be written"
				}
			}
			return kind, s.stores.log.Ready(ctx)
		}},
		{Name: "postgres", Run: func(ctx context.Context) (string, error) {
			kind := "configured"
			if s.private != nil {
				kind = "private"
			}
			return kind, s.pools.Main.Ping(ctx)
		}},
		{Name: "projections", Run: s.projectionsReady},
		s.reactorsCheck(),
		s.effectsCheck(),
		{Name: "bootstrap", Run: func(context.Context) (string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.ready {
				return "", fault.New(fault.Unavailable, "bootstrap", "the installation is being made up")
			}
			return "done", nil
		}},
	}
}

// projectionsReady names what stands in the way: groups that stopped, or tables
// that are still being built.
func (s *Server) projectionsReady(ctx context.Context) (string, error) {
	var states []string
	var problems []error
	for _, st := range s.engine.Status(ctx) {
		states = append(states, fmt.Sprintf("%s %s", st.Group, st.State))
		switch st.State {
		case projections.Starting, projections.Rebuilding, projections.Stopped, projections.Retrying:
			problems = append(problems, fmt.Errorf("read models of %s are %s", st.Group, st.State))
		}
	}
	return strings.Join(states, ", "), errors.Join(problems...)
}

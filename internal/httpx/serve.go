package httpx

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"golang.org/x/sync/errgroup"
)

// Check is one condition of readiness. Detail may say how far something is; an
// error means not ready.
type Check struct {
	Name string
	Run  func(ctx context.Context) (detail string, err error)
}

// Site is what a process serves: dialects, health, metrics, documentation.
type Site struct {
	Options
	Gatherer prometheus.Gatherer // nil = no /metrics
	Checks   []Check
	Tracing  bool // spans by otelhttp
	APIs     []*API

	once sync.Once
	in   *instruments
}

// checkTime bounds all readiness checks together.
const checkTime = 3 * time.Second

func (s *Site) instruments() *instruments {
	s.once.Do(func() { s.in = newInstruments(s.Options) })
	return s.in
}

// Main is the handler of the main listener: each dialect at its documented paths
// (the longest mount wins) and below its prefix, with its document and page
// there; /healthz, /readyz, /metrics; and an index.
func (s *Site) Main() http.Handler {
	root := mux.NewRouter().SkipClean(true).UseEncodedPath()
	root.HandleFunc("/healthz", s.health).Methods(http.MethodGet, http.MethodHead)
	root.HandleFunc("/readyz", s.ready).Methods(http.MethodGet, http.MethodHead)
	if s.Gatherer != nil {
		root.Handle("/metrics", promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{})).Methods(http.MethodGet, http.MethodHead)
	}
	root.HandleFunc("/", s.index).Methods(http.MethodGet, http.MethodHead)
	for _, m := range s.mounts() {
		root.MatcherFunc(below(m.at)).Handler(m.handler)
	}
	root.NotFoundHandler = http.HandlerFunc(noSuchPath)
	root.MethodNotAllowedHandler = http.HandlerFunc(noSuchPath)
	return s.wrap(root)
}

// Own is the handler of a dialect's own listener: its documented paths, its
// document and page, /healthz and /readyz.
func (s *Site) Own(a *API) http.Handler {
	root := mux.NewRouter().SkipClean(true).UseEncodedPath()
	root.HandleFunc("/healthz", s.health).Methods(http.MethodGet, http.MethodHead)
	root.HandleFunc("/readyz", s.ready).Methods(http.MethodGet, http.MethodHead)
	root.Handle("/openapi.json", a.documentHandler())
	root.Handle("/docs", a.pageHandler())
	root.PathPrefix("/").Handler(a.under(""))
	return s.wrap(root)
}

type mount struct {
	at      string
	handler http.Handler
}

// mounts lists where dialects answer, longest first.
func (s *Site) mounts() []mount {
	var all []mount
	for _, a := range s.APIs {
		if p := a.d.Prefix; p != "" {
			all = append(all, mount{p + "/openapi.json", a.documentHandler()}, mount{p + "/docs", a.pageHandler()}, mount{p, a.under(p)})
		}
		if a.d.OwnListener {
			continue
		}
		for _, at := range a.d.Mounts {
			all = append(all, mount{at, a.under("")})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return len(all[i].at) > len(all[j].at) })
	return all
}

func (a *API) under(prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, prefix) })
}

// below matches a path at or below a prefix, at a segment's border. It looks at
// the path as it was sent, as routing does.
func below(prefix string) mux.MatcherFunc {
	return func(r *http.Request, _ *mux.RouteMatch) bool {
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
		return ok && (rest == "" || rest[0] == '/')
	}
}

// wrap adds the instruments and, when traces are sent, the span.
func (s *Site) wrap(h http.Handler) http.Handler {
	h = s.instruments().instrument(recovered(h))
	if s.Tracing {
		h = otelhttp.NewHandler(h, "http")
	}
	return h
}

// recovered answers panics of what is no dialect; a dialect answers its own.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if isAbort(p) {
				panic(p)
			}
			req := From(r.Context())
			req.failure = faultOfPanic(p)
			if req.w.reset() {
				http.Error(w, "something went wrong on our side", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func noSuchPath(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusNotFound, map[string]any{"title": "there is nothing at this address", "status": http.StatusNotFound})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that is gone cannot be told.
	_ = json.NewEncoder(w).Encode(v)
}

// health says that the process lives and answers.
func (s *Site) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready  bool                   `json:"ready"`
	Checks map[string]CheckResult `json:"checks"`
}

// CheckResult is the outcome of one check.
type CheckResult struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// ready runs all checks at once. What a check's error says is for operators and
// goes to the log; the answer names the check.
func (s *Site) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	results := make([]CheckResult, len(s.Checks))
	var group sync.WaitGroup
	for i, check := range s.Checks {
		group.Go(func() {
			detail, err := check.Run(ctx)
			results[i] = CheckResult{OK: err == nil, Detail: detail}
			if err != nil {
				s.instruments().logger.WarnContext(ctx, "not ready", "check", check.Name, "cause", err)
			}
		})
	}
	group.Wait()
	out := Readiness{Ready: true, Checks: map[string]CheckResult{}}
	for i, check := range s.Checks {
		out.Ready = out.Ready && results[i].OK
		out.Checks[check.Name] = results[i]
	}
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, out)
}

// index links the documentation pages.
func (s *Site) index(w http.ResponseWriter, _ *http.Request) {
	var list strings.Builder
	for _, a := range s.APIs {
		p := html.EscapeString(a.d.Prefix)
		fmt.Fprintf(&list, `<li><a href="%s/docs">%s</a> <small>%d operations · <a href="%s/openapi.json">OpenAPI</a></small>`,
			p, html.EscapeString(a.d.Title), len(a.operations), p)
	}
	page(w, `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Docket</title>`+
		`<style>:root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}</style>`+
		`<h1>Docket</h1><ul>`+list.String()+`</ul><p><a href="/healthz">health</a> · <a href="/readyz">readiness</a> · <a href="/metrics">metrics</a>`)
}

//go:embed docs.html
var docsPage string

// page sends an HTML page that needs nothing from elsewhere.
func page(w http.ResponseWriter, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	// A client that is gone cannot be told.
	_, _ = io.WriteString(w, body)
}

func (a *API) pageHandler() http.Handler {
	body := strings.ReplaceAll(docsPage, "{{title}}", html.EscapeString(a.d.Title))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { page(w, body) })
}

func (a *API) documentHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := a.Document()
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// A client that is gone cannot be told.
		_, _ = w.Write(data)
	})
}

// Listener is a socket with what answers on it.
type Listener struct {
	Listener net.Listener
	Handler  http.Handler
}

// Serve answers on all listeners until ctx ends. Then it takes no new requests,
// lets those under way finish for at most drain, and cuts off the rest. It
// returns nil after an orderly end.
func Serve(ctx context.Context, logger *slog.Logger, drain time.Duration, listeners ...Listener) error {
	group, running := errgroup.WithContext(ctx)
	for _, l := range listeners {
		server := newServer(l.Handler, logger)
		group.Go(func() error {
			if err := server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("listener %s: %w", l.Listener.Addr(), err)
			}
			return nil
		})
		group.Go(func() error {
			<-running.Done()
			// Not running: it has just ended.
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
			defer cancel()
			if err := server.Shutdown(late); err != nil {
				logger.Warn("requests were cut off at the end", "listener", l.Listener.Addr().String())
				return ignoreClosed(server.Close())
			}
			return nil
		})
	}
	return group.Wait()
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// newServer has no read and write timeouts: they would cut long uploads and
// streams, and a read timeout cancels handlers. Bodies and answers have
// deadlines that move with their progress instead.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

package idempotency

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/internal/postgres/pgtest"
	"docket/internal/vault"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// toy is an API with one write whose handler the test supplies, and what the
// handler saw.
type toy struct {
	store *Store
	pool  *pgxpool.Pool
	api   *httpx.API
	seen  []Request
	asked []byte // what takeOver asks
	calls atomic.Int32
	do    func(ctx context.Context) (*httpx.Raw, error)
}

type writeIn struct {
	ID   string `path:"id"`
	Body struct {
		Name string `json:"name" maxLength:"10"`
	}
}

func newToy(t *testing.T) *toy {
	t.Helper()
	v, err := vault.New(bytes.Repeat([]byte{7}, vault.KeySize))
	require.NoError(t, err)
	y := &toy{pool: pgtest.New(t)}
	y.store, err = Open(t.Context(), y.pool, v, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	y.api = y.newAPI()
	y.do = func(context.Context) (*httpx.Raw, error) {
		raw, err := httpx.JSON(201, map[string]string{"secret": "made"})
		raw.Header = http.Header{"Location": {"/things/1"}}
		return raw, err
	}
	return y
}

func (y *toy) newAPI() *httpx.API {
	api := httpx.NewAPI(httpx.Dialect{
		Name: "toy", Title: "Toy", Base: "/api",
		Authenticate: func(ctx context.Context, r *http.Request) (context.Context, error) {
			return context.WithValue(ctx, principalKey{}, r.Header.Get("Authorization")), nil
		},
		Middleware: []httpx.Middleware{Middleware(y.store, func(ctx context.Context) string {
			return ctx.Value(principalKey{}).(string)
		})},
	})
	httpx.Register(api, httpx.Op{ID: "1", Method: "POST", Path: "/things/{id}", Summary: "Write", MaxBody: 4 << 20},
		func(ctx context.Context, in *writeIn) (*httpx.Raw, error) {
			y.calls.Add(1)
			y.seen = append(y.seen, From(ctx))
			return y.do(ctx)
		})
	httpx.Register(api, httpx.Op{ID: "2", Method: "GET", Path: "/things/{id}", Summary: "Read"},
		func(ctx context.Context, in *struct {
			ID string `path:"id"`
		}) (*httpx.Raw, error) {
			y.calls.Add(1)
			return &httpx.Raw{}, nil
		})
	return api
}

type principalKey struct{}

type post struct {
	path, body, key, as string
	method              string
	ctx                 context.Context // of the connection
}

func (y *toy) send(p post) *httptest.ResponseRecorder {
	if p.path == "" {
		p.path = "/api/things/1"
	}
	if p.body == "" {
		p.body = `{"name":"a"}`
	}
	if p.method == "" {
		p.method = "POST"
	}
	r := httptest.NewRequest(p.method, p.path, strings.NewReader(p.body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", p.as)
	if p.key != "" {
		r.Header.Set(KeyHeader, p.key)
	}
	if p.ctx != nil {
		r = r.WithContext(p.ctx)
	}
	w := httptest.NewRecorder()
	y.api.ServeHTTP(w, r)
	return w
}

func (y *toy) rows(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, y.pool.QueryRow(t.Context(), "select count(*) from idempotency.request").Scan(&n))
	return n
}

func TestTheSecondRequestIsAnsweredFromTheFirst(t *testing.T) {
	y := newToy(t)
	first := y.send(post{key: "k1"})
	require.Equal(t, 201, first.Code, first.Body.String())
	require.Empty(t, first.Header().Get(ReplayedHeader))
	second := y.send(post{key: "k1"})
	require.Equal(t, 201, second.Code)
	require.Equal(t, "true", second.Header().Get(ReplayedHeader))
	require.Equal(t, first.Body.String(), second.Body.String())
	require.Equal(t, "/things/1", second.Header().Get("Location"))
	require.Equal(t, first.Header().Get("Content-Type"), second.Header().Get("Content-Type"))
	require.NotEqual(t, first.Header().Get(httpx.RequestIDHeader), second.Header().Get(httpx.RequestIDHeader))
	require.EqualValues(t, 1, y.calls.Load())
	require.True(t, y.seen[0].Keyed)
	require.False(t, y.seen[0].Retry)

	var stored string
	require.NoError(t, y.pool.QueryRow(t.Context(), "select encode(answer, 'escape') from idempotency.request").Scan(&stored))
	require.NotContains(t, stored, "made", "the answer is sealed")
}

func TestKeysOfOthersAndOtherRoutesAreApart(t *testing.T) {
	y := newToy(t)
	require.Equal(t, 201, y.send(post{key: "k", as: "jane"}).Code)
	require.Empty(t, y.send(post{key: "k", as: "john"}).Header().Get(ReplayedHeader))
	require.EqualValues(t, 2, y.calls.Load())
	y.send(post{key: "k", method: "GET"})
	y.send(post{key: "k", method: "GET"})
	require.EqualValues(t, 4, y.calls.Load(), "reads are not named")
}

func TestAKeyIsForOneRequest(t *testing.T) {
	y := newToy(t)
	require.Equal(t, 201, y.send(post{key: "k"}).Code)
	for _, p := range []post{{body: `{"name":"b"}`}, {path: "/api/things/2"}, {path: "/api/things/1?x=1"}} {
		p.key = "k"
		w := y.send(p)
		require.Equal(t, 422, w.Code)
		var problem httpx.Problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &problem))
		require.Equal(t, []httpx.ProblemField{{In: "header", Path: KeyHeader, Message: "was used for another request"}}, problem.Errors)
	}
	require.EqualValues(t, 1, y.calls.Load())
}

func TestKeysMustBeVisibleASCII(t *testing.T) {
	y := newToy(t)
	for _, key := range []string{" ", "a b", "schlüssel", "a\tb", strings.Repeat("x", 256)} {
		require.Equal(t, 400, y.send(post{key: key}).Code, key)
	}
	require.Equal(t, 201, y.send(post{key: strings.Repeat("~", 255)}).Code)
	r := httptest.NewRequest("POST", "/api/things/1", strings.NewReader(`{"name":"a"}`))
	r.Header[KeyHeader] = []string{"a", "b"}
	w := httptest.NewRecorder()
	y.api.ServeHTTP(w, r)
	require.Equal(t, 400, w.Code)
	require.EqualValues(t, 1, y.calls.Load())
}

func TestWithoutAKeyEachRequestIsNew(t *testing.T) {
	y := newToy(t)
	y.send(post{})
	y.send(post{})
	require.NotEqual(t, y.seen[0].ID, y.seen[1].ID)
	require.False(t, y.seen[0].Keyed)
	require.WithinDuration(t, time.Now(), y.seen[0].Now, time.Minute)
	require.Zero(t, y.rows(t))
}

func TestFailuresAreRunAgainAsTheSameRequest(t *testing.T) {
	for name, failing := range map[string]func(context.Context) (*httpx.Raw, error){
		"internal":     func(context.Context) (*httpx.Raw, error) { return nil, errors.New("broke") },
		"unavailable":  func(context.Context) (*httpx.Raw, error) { return nil, fault.New(fault.Unavailable, "u", "u") },
		"limited":      func(context.Context) (*httpx.Raw, error) { return nil, fault.New(fault.Limited, "l", "l") },
		"panic":        func(context.Context) (*httpx.Raw, error) { panic("broke") },
		"raw 500":      func(context.Context) (*httpx.Raw, error) { return &httpx.Raw{Status: 500, Body: []byte("x")}, nil },
		"broken early": func(context.Context) (*httpx.Raw, error) { return &httpx.Raw{Stream: brokenStream}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			y := newToy(t)
			good := y.do
			y.do = failing
			w := y.send(post{key: "k"})
			require.GreaterOrEqual(t, w.Code, 429)
			require.NotContains(t, w.Body.String(), "half")
			y.do = good
			require.Equal(t, 201, y.send(post{key: "k"}).Code)
			require.Len(t, y.seen, 2)
			require.Equal(t, y.seen[0].ID, y.seen[1].ID)
			require.True(t, y.seen[0].Now.Equal(y.seen[1].Now))
			require.True(t, y.seen[1].Retry)
			require.Equal(t, "true", y.send(post{key: "k"}).Header().Get(ReplayedHeader))
		})
	}
}

func brokenStream(w io.Writer) error {
	_, _ = io.WriteString(w, "half")
	return errors.New("broke")
}

func TestRefusalsAreKeptUnlessTheRequestItselfIsWrong(t *testing.T) {
	y := newToy(t)
	require.Equal(t, 400, y.send(post{key: "k", body: `{"name":"far too long a name"}`}).Code)
	require.Equal(t, 400, y.send(post{key: "k", body: `{`}).Code)
	require.Equal(t, 201, y.send(post{key: "k"}).Code, "the key is free for the corrected request")

	y.do = func(context.Context) (*httpx.Raw, error) {
		return nil, fault.New(fault.Conflict, "busy", "it is busy")
	}
	first := y.send(post{key: "c"})
	require.Equal(t, 409, first.Code)
	y.do = nil // would panic
	second := y.send(post{key: "c"})
	require.Equal(t, 409, second.Code)
	require.Equal(t, "true", second.Header().Get(ReplayedHeader))
	require.Equal(t, first.Body.String(), second.Body.String())
	require.Equal(t, "application/problem+json", second.Header().Get("Content-Type"))
}

// After a run that may have had effects, a refusal belongs to this request.
func TestRefusalOfARetryIsKept(t *testing.T) {
	y := newToy(t)
	y.do = func(context.Context) (*httpx.Raw, error) { return nil, errors.New("broke") }
	y.send(post{key: "k"})
	y.do = func(context.Context) (*httpx.Raw, error) { return nil, fault.InvalidField("name", "no") }
	require.Equal(t, 400, y.send(post{key: "k"}).Code)
	require.Equal(t, "true", y.send(post{key: "k"}).Header().Get(ReplayedHeader))
}

func TestARunningRequestIsNotRunBesides(t *testing.T) {
	y := newToy(t)
	started, finish := make(chan struct{}), make(chan struct{})
	good := y.do
	y.do = func(ctx context.Context) (*httpx.Raw, error) {
		close(started)
		<-finish
		return good(ctx)
	}
	done := make(chan int)
	go func() { done <- y.send(post{key: "k"}).Code }()
	<-started
	w := y.send(post{key: "k"})
	require.Equal(t, 409, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	close(finish)
	require.Equal(t, 201, <-done)
	require.Equal(t, "true", y.send(post{key: "k"}).Header().Get(ReplayedHeader))
	require.EqualValues(t, 1, y.calls.Load())
}

// A process that died left a row whose lease runs out.
func TestADeadRunIsTakenOver(t *testing.T) {
	y := newToy(t)
	dead, err := y.store.reserve(t.Context(), name{"", "toy POST /api/things/{id}", "k"}, askedOf(t, "/api/things/1", `{"name":"a"}`))
	require.NoError(t, err)
	require.Equal(t, run, dead.state)
	require.Equal(t, 409, y.send(post{key: "k"}).Code, "the lease is alive")

	_, err = y.pool.Exec(t.Context(), "update idempotency.request set lease_until = clock_timestamp() - interval '1 ms'")
	require.NoError(t, err)
	require.Equal(t, 201, y.send(post{key: "k"}).Code)
	require.Equal(t, dead.id, y.seen[0].ID)
	require.True(t, y.seen[0].Retry)
	require.True(t, dead.now.Equal(y.seen[0].Now))

	// The dead one wakes up and finds that it may neither answer nor go on.
	n := name{"", "toy POST /api/things/{id}", "k"}
	held, err := y.store.renew(t.Context(), n, dead.holder)
	require.NoError(t, err)
	require.False(t, held)
	held, err = y.store.complete(t.Context(), n, dead.holder, answer{Status: 500})
	require.NoError(t, err)
	require.False(t, held)
	held, err = y.store.forget(t.Context(), n, dead.holder)
	require.NoError(t, err)
	require.False(t, held)
	require.Equal(t, 201, y.send(post{key: "k"}).Code)
}

func askedOf(t *testing.T, path, body string) []byte {
	t.Helper()
	sum, done, err := hash(httptest.NewRequest("POST", path, strings.NewReader(body)))
	require.NoError(t, err)
	done()
	return sum
}

func TestTheLeaseIsRenewedWhileTheRequestRuns(t *testing.T) {
	y := newToy(t)
	y.store.lease = 900 * time.Millisecond
	good := y.do
	y.do = func(ctx context.Context) (*httpx.Raw, error) {
		var first, now time.Time
		const q = "select lease_until from idempotency.request"
		if err := y.pool.QueryRow(ctx, q).Scan(&first); err != nil {
			return nil, err
		}
		for !now.After(first) { // until the heart has beaten, or the test's time is up
			if err := y.pool.QueryRow(ctx, q).Scan(&now); err != nil {
				return nil, err
			}
		}
		return good(ctx)
	}
	require.Equal(t, 201, y.send(post{key: "k"}).Code)
}

// thing is the name of a request that somebody without credentials sends.
func thing(key string) name { return name{"", "toy POST /api/things/{id}", key} }

// takeOver makes a row look as if its run were long dead, and has another run it.
func (y *toy) takeOver(ctx context.Context) (reservation, error) {
	if _, err := y.pool.Exec(ctx, "update idempotency.request set lease_until = '-infinity'"); err != nil {
		return reservation{}, err
	}
	return y.store.reserve(ctx, thing("k"), y.asked)
}

// A run that another has taken over is stopped, and the other one answers.
func TestAnOvertakenRunDoesNotAnswer(t *testing.T) {
	for name, do := range map[string]func(context.Context) (*httpx.Raw, error){
		"done":    func(context.Context) (*httpx.Raw, error) { return httpx.JSON(201, "first") },
		"refused": func(context.Context) (*httpx.Raw, error) { return nil, fault.InvalidField("name", "no") },
		"stopped": func(ctx context.Context) (*httpx.Raw, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			y := newToy(t)
			y.store.lease = 900 * time.Millisecond
			y.asked = askedOf(t, "/api/things/1", `{"name":"a"}`)
			var second reservation
			y.do = func(ctx context.Context) (*httpx.Raw, error) {
				var err error
				if second, err = y.takeOver(t.Context()); err != nil {
					return nil, err
				}
				return do(ctx)
			}
			w := y.send(post{key: "k"})
			require.Equal(t, 503, w.Code, w.Body.String())
			require.NotEmpty(t, w.Header().Get("Retry-After"))
			require.True(t, second.retry)
			held, err := y.store.complete(t.Context(), thing("k"), second.holder, answer{Status: 201, Body: []byte("second")})
			require.NoError(t, err)
			require.True(t, held)
			require.Equal(t, "second", y.send(post{key: "k"}).Body.String())
		})
	}
}

// A run that cannot renew its lease is not certain of it once it has run out.
func TestALeaseIsCertainForItsTime(t *testing.T) {
	y := newToy(t)
	n := thing("k")
	r, err := y.store.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	r.hold = newHold(time.Now().Add(-lease), lease)
	require.False(t, r.hold.certain())
	require.True(t, y.store.prolong(t.Context(), n, r), "nobody has taken over")
	require.True(t, r.hold.certain())

	r.hold = newHold(time.Now(), lease)
	y.pool.Close()
	require.True(t, y.store.prolong(t.Context(), n, r), "an outage, for now")
	r.hold = newHold(time.Now().Add(-lease), lease)
	require.False(t, y.store.prolong(t.Context(), n, r))
}

func TestHandlersCanAskForTheirLease(t *testing.T) {
	y := newToy(t)
	y.send(post{key: "k"})
	require.True(t, y.seen[0].Held())
	y.send(post{})
	require.Nil(t, y.seen[1].Held)
}

// That its client has left says nothing about a request.
func TestTheClientLeaves(t *testing.T) {
	y := newToy(t)
	connected, leave := context.WithCancel(t.Context())
	good := y.do
	y.do = func(ctx context.Context) (*httpx.Raw, error) {
		leave()
		<-ctx.Done()
		return nil, fault.New(fault.Unavailable, "store.unavailable", "x").Because(ctx.Err())
	}
	y.send(post{key: "k", ctx: connected})
	y.do = good
	w := y.send(post{key: "k"})
	require.Equal(t, 201, w.Code)
	require.Empty(t, w.Header().Get(ReplayedHeader))
	require.True(t, y.seen[1].Retry)
	require.Equal(t, y.seen[0].ID, y.seen[1].ID)
}

func TestManyAtOnceRunOnce(t *testing.T) {
	y := newToy(t)
	codes := make(chan int)
	for range 16 {
		go func() { codes <- y.send(post{key: "k"}).Code }()
	}
	for range 16 {
		require.Contains(t, []int{201, 409}, <-codes)
	}
	require.EqualValues(t, 1, y.calls.Load())
}

func TestExpiry(t *testing.T) {
	y := newToy(t)
	require.Equal(t, 201, y.send(post{key: "k"}).Code)
	require.Equal(t, 201, y.send(post{key: "other"}).Code)
	n, err := y.store.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = y.pool.Exec(t.Context(), "update idempotency.request set expires_at = clock_timestamp() - interval '1 s'")
	require.NoError(t, err)
	require.Equal(t, 201, y.send(post{key: "k", body: `{"name":"new"}`}).Code, "an expired key is free before it is swept")
	require.NotEqual(t, y.seen[0].ID, y.seen[2].ID)
	require.False(t, y.seen[2].Retry)
	n, err = y.store.Sweep(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Equal(t, 1, y.rows(t))
}

func TestLargeBodiesAreHashedWhole(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	one := httptest.NewRequest("POST", "/a", strings.NewReader(big))
	sum, done, err := hash(one)
	require.NoError(t, err)
	defer done()
	back, err := io.ReadAll(one.Body)
	require.NoError(t, err)
	require.True(t, string(back) == big, "the body can be read again")
	require.NotEqual(t, sum, askedOf(t, "/a", big[:len(big)-1]+"y"))
	require.Equal(t, sum, askedOf(t, "/a", big))
	require.NotEqual(t, sum, askedOf(t, "/b", big))
}

func TestLargeAnswersPassThrough(t *testing.T) {
	y := newToy(t)
	y.do = func(context.Context) (*httpx.Raw, error) {
		return &httpx.Raw{Header: http.Header{"X-Own": {"1"}}, Body: bytes.Repeat([]byte("x"), maxAnswer+1)}, nil
	}
	w := y.send(post{key: "k"})
	require.Equal(t, 200, w.Code)
	require.Equal(t, maxAnswer+1, w.Body.Len())
	require.Equal(t, "1", w.Header().Get("X-Own"))
	w = y.send(post{key: "k"})
	require.Empty(t, w.Header().Get(ReplayedHeader))
	require.Equal(t, maxAnswer+1, w.Body.Len())
	require.Equal(t, y.seen[0].ID, y.seen[1].ID)
}

func TestAnAnswerSealedForAnotherRowIsNotReplayed(t *testing.T) {
	y := newToy(t)
	require.Equal(t, 201, y.send(post{key: "a", as: "jane"}).Code)
	require.Equal(t, 201, y.send(post{key: "b", as: "john"}).Code)
	_, err := y.pool.Exec(t.Context(), `update idempotency.request set answer = (select answer from idempotency.request where key = 'a') where key = 'b'`)
	require.NoError(t, err)
	w := y.send(post{key: "b", as: "john"})
	require.Equal(t, 503, w.Code)
	require.NotContains(t, w.Body.String(), "made")
}

func TestStoreDown(t *testing.T) {
	y := newToy(t)
	y.pool.Close()
	w := y.send(post{key: "k"})
	require.Equal(t, 503, w.Code)
	require.NotContains(t, w.Body.String(), "closed")
	require.Equal(t, 201, y.send(post{}).Code, "unnamed requests do not need it")
	require.Zero(t, len(y.seen)-1)
}

func TestFromOutsideOfARequest(t *testing.T) {
	require.NotEqual(t, From(t.Context()).ID, From(t.Context()).ID)
	want := Request{Retry: true}
	require.Equal(t, want, From(With(t.Context(), want)))
}

func TestRunSweepsUntilItEnds(t *testing.T) {
	y := newToy(t)
	y.send(post{key: "k"})
	_, err := y.pool.Exec(t.Context(), "update idempotency.request set expires_at = clock_timestamp() - interval '1 s'")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { y.store.Run(ctx, time.Millisecond); close(ended) }()
	require.Eventually(t, func() bool { return y.rows(t) == 0 }, 30*time.Second, time.Millisecond)
	cancel()
	<-ended
}

func TestWhatADeadProcessLeftIsTakenOverByItsSuccessor(t *testing.T) {
	y := newToy(t)
	require.NoError(t, y.store.Resume(t.Context(), "folder 1"))
	n := name{"someone", "route", "key"}
	first, err := y.store.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	require.Equal(t, run, first.state)

	other := &Store{pool: y.pool, sealer: y.store.sealer, logger: y.store.logger, lease: lease}
	require.NoError(t, other.Resume(t.Context(), "folder 2"))
	found, err := other.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	require.Equal(t, busy, found.state, "runs of other processes go on")

	require.NoError(t, y.store.Resume(t.Context(), "folder 1"))
	found, err = y.store.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	require.Equal(t, run, found.state)
	require.True(t, found.retry)
	require.Equal(t, first.id, found.id)
}

func TestWhatCouldNotBeSettledIsReleasedLater(t *testing.T) {
	y := newToy(t)
	n := name{"someone", "route", "key"}
	first, err := y.store.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	y.store.releaseLater(n, first.holder)
	y.store.releaseUnsettled(ended) // as when the database is away
	require.Len(t, y.store.unsettled, 1)
	found, err := y.store.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	require.Equal(t, busy, found.state)

	y.store.releaseUnsettled(t.Context())
	require.Empty(t, y.store.unsettled)
	found, err = y.store.reserve(t.Context(), n, []byte("asked"))
	require.NoError(t, err)
	require.True(t, found.retry)
	require.Equal(t, first.id, found.id)
}

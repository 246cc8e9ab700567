package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/google/uuid"
)

// Headers of the protocol.
const (
	KeyHeader      = "Idempotency-Key"
	ReplayedHeader = "Idempotent-Replayed"
)

const (
	maxKey = 255
	// maxAnswer is the largest answer that is kept. A larger one is not replayed
	// but made again, with the same id.
	maxAnswer = 4 << 20
	// inMemory is how much of a body is held in memory to hash it before it is
	// read again; the rest goes to a temporary file.
	inMemory = 1 << 20
	// afterwards bounds the work on a row after the client may have gone.
	afterwards = 10 * time.Second
)

// Request is the write at hand, as commands see it.
type Request struct {
	ID    uuid.UUID // the same in every run of the same request
	Now   time.Time // the same, too
	Retry bool      // an earlier run may have had effects
	Keyed bool      // the client named it
	// Held tells whether this run is the only one of the request for certain; nil
	// when the client did not name it. What is decided without it may be decided
	// twice.
	Held func() bool
}

type requestKey struct{}

// From returns the request of ctx. Outside of a write it is a new one.
func From(ctx context.Context) Request {
	if r, ok := ctx.Value(requestKey{}).(Request); ok {
		return r
	}
	return Request{ID: uuid.New(), Now: time.Now()}
}

// With puts a request into a context: for commands that no HTTP request sends.
func With(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Middleware gives every write a Request and, when the client named it, makes it
// happen once. principal tells who the caller in ctx is; keys of different
// callers have nothing to do with each other.
func Middleware(s *Store, principal func(context.Context) string) httpx.Middleware {
	return func(op *httpx.Operation, next httpx.Handler) httpx.Handler {
		if !op.Writes() {
			return next
		}
		route := op.Dialect + " " + op.Method + " " + op.Full
		return func(w http.ResponseWriter, r *http.Request) error {
			ctx := r.Context()
			keys := r.Header.Values(KeyHeader)
			if len(keys) == 0 {
				return next(w, r.WithContext(With(ctx, Request{ID: uuid.New(), Now: time.Now()})))
			}
			if len(keys) > 1 || !validKey(keys[0]) {
				return keyFault("must be one text of 1 to %d visible ASCII characters", maxKey)
			}
			return s.once(w, r, name{principal(ctx), route, keys[0]}, next)
		}
	}
}

func validKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return len(key) > 0 && len(key) <= maxKey
}

func keyFault(format string, args ...any) *fault.Error {
	f := fault.InvalidField(KeyHeader, format, args...)
	f.Code = "idempotency-key"
	f.Fields[0].In = "header"
	return f
}

// once runs a named request, or answers what it answered before.
func (s *Store) once(w http.ResponseWriter, r *http.Request, n name, next httpx.Handler) error {
	asked, done, err := hash(r)
	defer done()
	if err != nil {
		return err
	}
	ctx, begun := r.Context(), time.Now()
	found, err := s.reserve(ctx, n, asked)
	if err != nil {
		return storeFault(err)
	}
	switch found.state {
	case other:
		return httpx.WithStatus(http.StatusUnprocessableEntity, keyFault("was used for another request"))
	case busy:
		return &fault.Error{Kind: fault.Conflict, Code: "idempotency-key.running", Public: "the request with this " + KeyHeader + " is still running", RetryAfter: time.Second}
	case finished:
		w.Header().Set(ReplayedHeader, "true")
		return write(w, found.answer)
	}
	found.hold = newHold(begun, s.lease)
	return s.run(w, r, n, found, next)
}

// run is one run of a reserved request. The row is settled before the client
// hears of the outcome, and in any case: also after a panic. When another run
// has taken over, the outcome is that one's to tell.
func (s *Store) run(w http.ResponseWriter, r *http.Request, n name, found reservation, next httpx.Handler) error {
	ctx, stop := context.WithCancel(With(r.Context(), Request{ID: found.id, Now: found.now, Retry: found.retry, Keyed: true, Held: found.hold.certain}))
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		s.beat(ctx, n, found, stop)
	}()
	settled := false
	settle := func(f settlement) (held bool) {
		settled = true
		stop()
		<-beating
		// Not the request's context: the client may be gone, the row is not.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), afterwards)
		defer cancel()
		held, err := f(ctx, n, found.holder)
		if err != nil {
			s.logger.Warn("an idempotency key could not be settled; a retry will run again", "cause", err)
			s.releaseLater(n, found.holder)
		}
		return held || err != nil
	}
	defer func() {
		if !settled {
			settle(s.release)
		}
	}()

	recorded := &recorder{inner: w, header: http.Header{}}
	err := next(recorded, r.WithContext(ctx))
	recorded.answer.Header = recorded.header
	held := settle(s.ending(found, recorded, err))
	switch {
	case recorded.passing:
		return err
	case !held:
		return &fault.Error{Kind: fault.Unavailable, Code: "idempotency-key.overtaken", Public: "another run of this request has taken over; ask again for its outcome", RetryAfter: time.Second}
	case err != nil:
		return err
	}
	return write(w, recorded.answer)
}

// settlement is what a run does with its row at the end. It is false when the row
// belongs to another run by now.
type settlement func(ctx context.Context, n name, holder uuid.UUID) (held bool, err error)

// ending chooses by the outcome.
func (s *Store) ending(found reservation, recorded *recorder, err error) settlement {
	status := recorded.status(err)
	switch {
	case recorded.passing, status >= 500, status == http.StatusTooManyRequests:
		return s.release
	case refused(status) && !found.retry:
		return s.forget
	case err != nil:
		return s.release
	}
	return func(ctx context.Context, n name, holder uuid.UUID) (bool, error) {
		// A failure does not undo it: a retry will find it done, by its id.
		return s.complete(ctx, n, holder, recorded.answer)
	}
}

// refused are answers to requests that are wrong in themselves.
func refused(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// hold is what a run knows of its lease without asking. By its own clock, from
// before the database was asked, a lease ends no later than by the database's.
type hold struct {
	begun time.Time
	until atomic.Int64 // nanoseconds after begun
}

func newHold(begun time.Time, lease time.Duration) *hold {
	h := &hold{begun: begun}
	h.until.Store(int64(lease))
	return h
}

// certain tells that no other run can have begun.
func (h *hold) certain() bool { return time.Since(h.begun) < time.Duration(h.until.Load()) }

func (h *hold) renewed(asked time.Time, lease time.Duration) {
	h.until.Store(int64(asked.Sub(h.begun) + lease))
}

// beat keeps the lease alive until ctx ends. When it is lost, stop ends the run.
func (s *Store) beat(ctx context.Context, n name, run reservation, stop func()) {
	tick := time.NewTicker(s.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.prolong(ctx, n, run) {
			stop()
			return
		}
	}
}

// prolong renews a lease. It is false when the run is not alone for certain.
func (s *Store) prolong(ctx context.Context, n name, run reservation) bool {
	asked := time.Now()
	within, cancel := context.WithTimeout(ctx, s.lease/3)
	defer cancel()
	held, err := s.renew(within, n, run.holder)
	switch {
	case ctx.Err() != nil: // the run has ended
		return true
	case err != nil:
		s.logger.Warn("the lease of an idempotency key was not renewed", "cause", err)
		return run.hold.certain()
	case held:
		run.hold.renewed(asked, s.lease)
	}
	return held
}

func storeFault(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Unavailable, "unavailable", "requests with an "+KeyHeader+" cannot be taken now, try again").Because(err)
}

// write sends a stored answer.
func write(w http.ResponseWriter, a answer) error {
	for header, values := range a.Header {
		w.Header()[header] = values
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if len(a.Body) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	if len(a.Body) > 0 {
		// A client that is gone cannot be told.
		_, _ = w.Write(a.Body)
	}
	return nil
}

// recorder holds an answer back until it is stored. One that grows too large
// passes through instead.
type recorder struct {
	inner   http.ResponseWriter
	header  http.Header
	answer  answer
	passing bool
}

// status is what the client would see of an outcome. An error comes of decoding,
// and the kit will word it.
func (c *recorder) status(err error) int {
	if err != nil {
		if f := fault.Of(err); f.Kind == fault.Invalid || f.Kind == fault.TooLarge {
			return http.StatusBadRequest
		}
		return http.StatusInternalServerError
	}
	if c.answer.Status == 0 {
		return http.StatusOK
	}
	return c.answer.Status
}

func (c *recorder) Header() http.Header {
	if c.passing {
		return c.inner.Header()
	}
	return c.header
}

func (c *recorder) WriteHeader(status int) {
	if c.answer.Status == 0 && status >= 200 {
		c.answer.Status = status
	}
}

func (c *recorder) Write(p []byte) (int, error) {
	if !c.passing && len(c.answer.Body)+len(p) <= maxAnswer {
		c.answer.Body = append(c.answer.Body, p...)
		return len(p), nil
	}
	if !c.passing {
		c.passing = true
		for header, values := range c.header {
			c.inner.Header()[header] = values
		}
		if c.answer.Status != 0 {
			c.inner.WriteHeader(c.answer.Status)
		}
		if _, err := c.inner.Write(c.answer.Body); err != nil {
			return 0, err
		}
		c.answer.Body = nil
	}
	return c.inner.Write(p)
}

// hash reads what is asked: the address and the body, which can then be read
// again. done removes what was kept for that.
func hash(r *http.Request) (sum []byte, done func(), err error) {
	h := sha256.New()
	path, query := r.URL.EscapedPath(), r.URL.RawQuery
	h.Write(fmt.Appendf(nil, "%d:%s%d:%s", len(path), path, len(query), query))
	done = func() {}
	if r.Body == nil || r.Body == http.NoBody {
		return h.Sum(nil), done, nil
	}
	var memory bytes.Buffer
	n, err := io.Copy(io.MultiWriter(h, &memory), io.LimitReader(r.Body, inMemory))
	if err != nil {
		return nil, done, err
	}
	if n < inMemory {
		r.Body = io.NopCloser(&memory)
		return h.Sum(nil), done, nil
	}
	file, err := os.CreateTemp("", "docket-body-*")
	if err != nil {
		return nil, done, err
	}
	// The name is not needed any more; the file goes with its descriptor.
	done = func() { _ = file.Close() }
	if err := os.Remove(file.Name()); err != nil {
		return nil, done, err
	}
	if _, err = io.Copy(io.MultiWriter(h, file), r.Body); err != nil {
		return nil, done, err
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return nil, done, err
	}
	r.Body = io.NopCloser(io.MultiReader(&memory, file))
	return h.Sum(nil), done, nil
}

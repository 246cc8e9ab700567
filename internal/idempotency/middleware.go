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
	ctx := r.Context()
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
	return s.run(w, r, n, found, next)
}

// run is one run of a reserved request. The row is settled before the client
// hears of the outcome, and in any case: also after a panic.
func (s *Store) run(w http.ResponseWriter, r *http.Request, n name, found reservation, next httpx.Handler) error {
	ctx, stop := context.WithCancel(With(r.Context(), Request{ID: found.id, Now: found.now, Retry: found.retry, Keyed: true}))
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		s.beat(ctx, n, found.holder)
	}()
	recorded := &recorder{inner: w, header: http.Header{}}
	settled := false
	settle := func(f func(context.Context) error) error {
		settled = true
		stop()
		<-beating
		// Not the request's context: the client may be gone, the row is not.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), afterwards)
		defer cancel()
		err := f(ctx)
		if err != nil {
			s.releaseLater(n, found.holder)
		}
		return err
	}
	defer func() {
		if !settled {
			s.note(settle(func(ctx context.Context) error { return s.release(ctx, n, found.holder) }))
		}
	}()

	err := next(recorded, r.WithContext(ctx))
	recorded.answer.Header = recorded.header
	status := recorded.answer.Status
	switch {
	case err != nil:
		// Decoding refused it; the kit will word the error.
		if f := fault.Of(err); f.Kind == fault.Invalid || f.Kind == fault.TooLarge {
			status = http.StatusBadRequest
		} else {
			status = http.StatusInternalServerError
		}
	case status == 0:
		status = http.StatusOK
	}
	switch {
	case recorded.passing, status >= 500, status == http.StatusTooManyRequests:
		s.note(settle(func(ctx context.Context) error { return s.release(ctx, n, found.holder) }))
	case refused(status) && !found.retry:
		s.note(settle(func(ctx context.Context) error { return s.forget(ctx, n, found.holder) }))
	case err == nil:
		if failed := settle(func(ctx context.Context) error { return s.complete(ctx, n, found.holder, recorded.answer) }); failed != nil {
			// It has happened, and a retry will find that out by its id.
			s.note(failed)
		}
	}
	if err != nil || recorded.passing {
		return err
	}
	return write(w, recorded.answer)
}

// refused are answers to requests that are wrong in themselves.
func refused(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// beat keeps the lease alive until ctx ends.
func (s *Store) beat(ctx context.Context, n name, holder uuid.UUID) {
	tick := time.NewTicker(s.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			held, err := s.renew(ctx, n, holder)
			if err == nil && !held {
				return
			}
			if ctx.Err() == nil {
				s.note(err)
			}
		}
	}
}

func (s *Store) note(err error) {
	if err != nil {
		s.logger.Warn("an idempotency key could not be settled; a retry will run again", "cause", err)
	}
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

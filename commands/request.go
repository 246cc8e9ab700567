package commands

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"docket/domain"
	"docket/eventstore"
	"github.com/google/uuid"
)

// Request is what commands of one client request share. Everything a command
// decides from is derived from it, so that the same request run again after a
// crash makes the same ids and events.
type Request struct {
	ID          uuid.UUID // from the Idempotency-Key, or random
	Now         time.Time
	IDTime      time.Time // stands in new ids; zero: Now. For requests whose repetition has another Now
	Retry       bool      // ran before and its outcome is unknown: look before deciding
	Dialect     string
	Correlation uuid.UUID // zero: the request itself
	Causation   uuid.UUID // zero: the request itself
	Traceparent string
	// Held tells whether this run of the request is still its only one; nil means
	// that no other can begin before it ends. Who has lost that appends nothing.
	Held func() bool

	mu       sync.Mutex
	ids      uint64
	ordinals map[string]int
	batch    batch // nil outside of Together
}

// batch gathers where the commands of a request ended, to wait for them once: by
// event type, since a read model does not hear of what it does not select, and so
// never passes where another's event stands.
type batch map[string]eventstore.Position

// NewRequest is a request of its own, not to be repeated.
func NewRequest(dialect string, now time.Time) *Request {
	return &Request{ID: uuid.New(), Now: now, Dialect: dialect}
}

type requestKey struct{}

// WithRequest puts the request into a context. Send needs one.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf is the request of a context; nil without one.
func RequestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// NewID makes the next id of the context's request. The nth call within a
// request gives the same id each time the request is run.
func NewID(ctx context.Context) domain.ID {
	r := RequestOf(ctx)
	r.mu.Lock()
	r.ids++
	n := r.ids
	r.mu.Unlock()
	at := r.Now
	if !r.IDTime.IsZero() {
		at = r.IDTime
	}
	return domain.NewID(at, r.random("id", n))
}

// random is 48 bits fixed by the request, a purpose and a number.
func (r *Request) random(purpose string, n uint64) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", r.ID, purpose, n))
	return binary.BigEndian.Uint64(sum[:8]) & (1<<48 - 1)
}

// commandID is fixed by the request, the command's name and stream, and how
// often the pair was sent before in this request.
func (r *Request) commandID(name, stream string) uuid.UUID {
	key := name + "/" + stream
	r.mu.Lock()
	if r.ordinals == nil {
		r.ordinals = make(map[string]int)
	}
	n := r.ordinals[key]
	r.ordinals[key]++
	r.mu.Unlock()
	return uuid.NewSHA1(r.ID, fmt.Appendf(nil, "%s/%d", key, n))
}

func (r *Request) correlation() uuid.UUID {
	if r.Correlation != uuid.Nil {
		return r.Correlation
	}
	return r.ID
}

func (r *Request) causation() uuid.UUID {
	if r.Causation != uuid.Nil {
		return r.Causation
	}
	return r.ID
}

// overtaken tells that another run of the request may have begun.
func (r *Request) overtaken() bool { return r.Held != nil && !r.Held() }

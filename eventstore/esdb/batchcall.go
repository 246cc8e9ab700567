package esdb

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
)

// batchCall is one BatchAppend call: requests go out in one stream and answers
// come back in any order, told apart by a number in their correlation id.
type batchCall struct {
	stream   streams.Streams_BatchAppendClient
	requests chan *streams.BatchAppendReq
	broken   chan struct{}
	breaking sync.Once
	cause    error // why it broke; read after broken
	answered atomic.Bool

	mu      sync.Mutex
	last    int64
	waiting map[int64]chan<- *streams.BatchAppendResp
}

func newBatchCall(stream streams.Streams_BatchAppendClient) *batchCall {
	return &batchCall{
		stream:   stream,
		requests: make(chan *streams.BatchAppendReq),
		broken:   make(chan struct{}),
		waiting:  make(map[int64]chan<- *streams.BatchAppendResp),
	}
}

// run passes requests and answers on until the call breaks. cancel ends it.
func (c *batchCall) run(cancel context.CancelFunc) error {
	var both sync.WaitGroup
	both.Go(c.send)
	both.Go(c.receive)
	<-c.broken
	cancel()
	both.Wait()
	return c.cause
}

func (c *batchCall) breakOff(cause error) {
	c.breaking.Do(func() {
		c.cause = cause
		close(c.broken)
	})
}

func (c *batchCall) send() {
	for {
		select {
		case r := <-c.requests:
			if err := c.stream.Send(r); err != nil {
				// The reason comes with the answers.
				return
			}
		case <-c.broken:
			return
		}
	}
}

func (c *batchCall) receive() {
	for {
		r, err := c.stream.Recv()
		if err != nil {
			c.breakOff(err)
			return
		}
		c.answered.Store(true)
		c.mu.Lock()
		n := correlationOf(r.GetCorrelationId())
		answer := c.waiting[n]
		delete(c.waiting, n)
		c.mu.Unlock()
		if answer != nil {
			answer <- r // has room
		}
	}
}

// append sends a request and waits for its answer, for the end of ctx or of the
// call.
func (c *batchCall) append(ctx context.Context, r *streams.BatchAppendReq) (*streams.BatchAppendResp, error) {
	answer := make(chan *streams.BatchAppendResp, 1)
	n := c.register(answer)
	defer c.forget(n)
	r.CorrelationId = structured(0, n)
	select {
	case c.requests <- r:
	case <-c.broken:
		return nil, errUndecided
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-answer:
		return a, nil
	case <-c.broken:
		return nil, errInDoubt
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *batchCall) register(answer chan<- *streams.BatchAppendResp) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	c.waiting[c.last] = answer
	return c.last
}

func (c *batchCall) forget(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, n)
}

// correlationOf is the number in a correlation id, which a server may return in
// either form; 0 is nobody's.
func correlationOf(id *shared.UUID) int64 {
	if s := id.GetStructured(); s != nil {
		return s.GetLeastSignificantBits()
	}
	parsed, err := uuid.Parse(id.GetString_())
	if err != nil {
		return 0
	}
	var n int64
	for _, b := range parsed[8:] {
		n = n<<8 | int64(b)
	}
	return n
}

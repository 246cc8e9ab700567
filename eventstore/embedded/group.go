package embedded

import (
	"cmp"
	"context"
	"encoding/json"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

// maxUnfinished bounds how far a group reads ahead of the oldest event that nobody has finished.
const maxUnfinished = 100_000

// item is one event on its way through a group.
type item struct {
	origin   *eventlog.Event // as it stands in the source
	event    *eventlog.Event // to be delivered: the origin, or what it links to; nil when that does not exist
	link     *eventlog.Event // that led to event, nil for none
	place    int64           // of origin in the source
	number   uint64          // in the order of reading
	retries  int32
	replayed bool // was parked; the checkpoint has passed it
	done     bool
}

// id is what acknowledgements name.
func (i *item) id() uuid.UUID {
	if i.link != nil {
		return i.link.ID
	}
	return i.event.ID
}

func asRead(a, b *item) int { return cmp.Compare(a.number, b.number) }

// flight is an event a consumer has not acknowledged.
type flight struct {
	*item
	deadline time.Time
}

// consumer is one connected client of a group.
type consumer struct {
	slots    int // events it takes without acknowledging
	from     string
	user     string
	wake     chan struct{} // something is in queue
	gone     chan struct{} // closed when the group has dropped it, for the reason
	reason   *problem
	queue    []*item // not yet sent
	inFlight map[uuid.UUID]flight
	total    int64
}

// takes says whether the consumer can have an event now.
func (c *consumer) takes(i *item) bool {
	_, twice := c.inFlight[i.id()]
	return len(c.inFlight) < c.slots && len(c.queue) < c.slots && !twice
}

// group shares the events of a source among its consumers. It reads while it has consumers, and remembers what it has
// read while it has none.
type group struct {
	owner *groups
	key   groupKey

	// saving is held while a checkpoint is written, so that they are written in order and none after the end.
	saving sync.Mutex

	mu        sync.Mutex
	config    groupConfig
	consumers []*consumer
	turn      int     // of the consumers, in round robin
	order     []*item // read and not finished, or behind such a one
	waiting   []*item // read and not yet handed out
	retry     []*item // to be handed out again, before the others
	number    uint64
	read      int64 // place read last
	finished  int64 // everything up to this place is finished
	saved     int64 // checkpoint on disk
	hasSaved  bool
	unsaved   int32 // events finished since
	savedAt   time.Time
	total     int64
	ended     bool
	run       int // of the reader; a reader of an earlier run has no say
	cancel    context.CancelFunc
	room      chan struct{} // the reader may go on
	save      chan struct{} // a checkpoint is due
}

func newGroup(s *groups, c groupConfig, at int64, saved bool) *group {
	return &group{owner: s, key: c.groupKey, config: c, read: at, finished: at, saved: at, hasSaved: saved,
		room: make(chan struct{}, 1), save: make(chan struct{}, 1)}
}

func (g *group) settings() groupConfig {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config
}

// signal wakes whoever waits on c, now or next time.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// join adds a consumer.
func (g *group) join(c *consumer) *problem {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return noGroup(g.key)
	}
	if n := g.config.MaxSubscriberCount; n > 0 && len(g.consumers) >= int(n) {
		return groupProblem(codes.FailedPrecondition, "maximum-subscribers-reached", g.key, "has as many consumers as it takes")
	}
	if len(g.consumers) == 0 {
		if p := g.start(); p != nil {
			return p
		}
	}
	g.consumers = append(g.consumers, c)
	g.dispatch()
	return nil
}

// start begins to read.
func (g *group) start() *problem {
	next, end, p := g.cursor(g.read)
	if p != nil {
		return p
	}
	ctx, cancel := context.WithCancel(g.owner.server.ctx)
	g.cancel, g.savedAt = cancel, time.Now()
	g.run++
	run, every := g.run, g.tick()
	g.owner.server.serving.Add(2)
	go func() {
		defer g.owner.server.serving.Done()
		defer end()
		g.reader(ctx, run, next)
	}()
	go func() {
		defer g.owner.server.serving.Done()
		g.keeper(ctx, every)
	}()
	return nil
}

// tick is how often the group looks at the time. The caller holds mu.
func (g *group) tick() time.Duration {
	d := 500 * time.Millisecond
	for _, ms := range []int32{g.config.MessageTimeout, g.config.CheckpointAfter} {
		if t := time.Duration(ms) * time.Millisecond / 4; t > 0 {
			d = min(d, t)
		}
	}
	return max(d, 10*time.Millisecond)
}

type nextEvents func(context.Context) (eventlog.Delivery, error)

// cursor opens the source behind a place.
func (g *group) cursor(after int64) (nextEvents, func(), *problem) {
	if g.key.Source == allSource {
		filter, p := g.config.filter()
		if p != nil {
			return nil, nil, p
		}
		return g.owner.log.FollowAll(eventlog.AllFollow{After: uint64(after), Filter: filter}).Next, func() {}, nil
	}
	c, err := g.owner.log.FollowStream(g.key.Source, after)
	if err != nil {
		return nil, nil, g.owner.server.explain(g.owner.server.ctx, err)
	}
	return c.Next, c.Close, nil
}

// leave removes a consumer. What it had goes to the others.
func (g *group) leave(c *consumer) {
	g.mu.Lock()
	i := slices.Index(g.consumers, c)
	if i < 0 {
		g.mu.Unlock()
		return // dropped
	}
	g.consumers = slices.Delete(g.consumers, i, i+1)
	var back []*item
	for _, f := range c.inFlight {
		back = append(back, f.item)
	}
	c.inFlight = nil // what it still says means nothing
	slices.SortFunc(back, asRead)
	g.retry = append(back, g.retry...)
	last := len(g.consumers) == 0
	if last {
		g.cancel()
	}
	g.dispatch()
	g.mu.Unlock()
	if last {
		g.checkpoint()
	}
}

// drop disconnects all consumers and forgets what was read. The caller holds mu.
func (g *group) drop(p *problem) {
	for _, c := range g.consumers {
		c.reason, c.inFlight = p, nil
		close(c.gone)
	}
	if len(g.consumers) > 0 {
		g.cancel()
	}
	g.run++
	g.consumers, g.order, g.waiting, g.retry = nil, nil, nil, nil
}

func (g *group) dropped() *problem {
	return groupProblem(codes.Canceled, "persistent-subscription-dropped", g.key, "was dropped")
}

// restart drops all consumers; the next ones find the group at its checkpoint, with new settings if there are any.
func (g *group) restart(c *groupConfig) {
	g.checkpoint()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(g.dropped())
	if c != nil {
		g.config = *c
		if !g.hasSaved {
			g.saved = c.After
		}
	}
	g.read, g.finished, g.unsaved = g.saved, g.saved, 0
}

// end closes the group for ever.
func (g *group) end() {
	g.saving.Lock()
	defer g.saving.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.drop(g.dropped())
}

// reader brings in events as long as there is room.
func (g *group) reader(ctx context.Context, run int, next nextEvents) {
	for {
		err := g.awaitRoom(ctx)
		if err == nil {
			var d eventlog.Delivery
			d, err = next(ctx)
			if terr := g.take(run, d.Events); err == nil {
				err = terr
			}
		}
		if err != nil {
			g.mu.Lock()
			if g.run == run && ctx.Err() == nil {
				g.drop(g.owner.server.explain(ctx, err))
				g.read = g.finished
			}
			g.mu.Unlock()
			return
		}
	}
}

func (g *group) awaitRoom(ctx context.Context) error {
	for {
		g.mu.Lock()
		buffer := max(int(g.config.HistorySize), int(g.config.LiveBufferSize), 1)
		room := len(g.waiting) < buffer && len(g.order) < maxUnfinished
		g.mu.Unlock()
		if room {
			return ctx.Err()
		}
		select {
		case <-g.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take adds events that were read.
func (g *group) take(run int, events []*eventlog.Event) error {
	items := make([]*item, len(events))
	links := g.settings().ResolveLinks
	for i, e := range events {
		items[i] = &item{origin: e, event: e, place: e.Revision}
		if g.key.Source == allSource {
			items[i].place = int64(e.Position)
		}
		if links && e.Type == eventlog.TypeLink {
			target, err := resolve(g.owner.log, e)
			if err != nil {
				return err
			}
			items[i].event, items[i].link = target, e
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.run != run {
		return nil
	}
	for _, i := range items {
		i.number = g.number
		g.number++
		g.read = i.place
	}
	g.order = append(g.order, items...)
	g.waiting = append(g.waiting, items...)
	g.dispatch()
	return nil
}

// dispatch hands out what consumers have room for. The caller holds mu.
func (g *group) dispatch() {
	for {
		queue := &g.waiting
		if len(g.retry) > 0 {
			queue = &g.retry
		}
		if len(*queue) == 0 {
			break
		}
		c := g.pick((*queue)[0])
		if c == nil {
			break
		}
		g.hand(c, (*queue)[0])
		(*queue)[0] = nil
		*queue = (*queue)[1:]
	}
	signal(g.room)
}

func (g *group) hand(c *consumer, i *item) {
	f := flight{item: i}
	if ms := g.config.MessageTimeout; ms > 0 {
		f.deadline = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	c.inFlight[i.id()] = f
	c.queue = append(c.queue, i)
	c.total++
	g.total++
	signal(c.wake)
}

// pick chooses the consumer of an event, nil when it has to wait.
func (g *group) pick(i *item) *consumer {
	n := len(g.consumers)
	if n == 0 {
		return nil
	}
	switch g.config.Strategy {
	case pinned, pinnedByCorrelation:
		if c := g.consumers[int(pin(i.origin, g.config.Strategy)%uint32(n))]; c.takes(i) {
			return c
		}
		return nil
	case roundRobin:
		for k := range n {
			if c := g.consumers[(g.turn+k)%n]; c.takes(i) {
				g.turn = (g.turn + k + 1) % n
				return c
			}
		}
		return nil
	}
	for _, c := range g.consumers {
		if c.takes(i) {
			return c
		}
	}
	return nil
}

// pin is the same for events that belong to one consumer.
func pin(e *eventlog.Event, strategy string) uint32 {
	by := e.Stream
	if strategy == pinnedByCorrelation {
		var m struct {
			ID string `json:"$correlationId"`
		}
		if json.Unmarshal(e.Metadata, &m) == nil && m.ID != "" {
			by = m.ID
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(by)) // never fails
	return h.Sum32()
}

// outgoing are the messages for what a consumer is to be sent. They are made here because retries count on meanwhile.
func (g *group) outgoing(c *consumer, textUUID bool) []*persistent.ReadResp {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*persistent.ReadResp, len(c.queue))
	for i, it := range c.queue {
		out[i] = it.message(textUUID)
	}
	c.queue = nil
	return out
}

// ack finishes events of a consumer.
func (g *group) ack(c *consumer, ids []uuid.UUID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		if f, ok := c.inFlight[id]; ok {
			delete(c.inFlight, id)
			g.finish(f.item)
		}
	}
	g.dispatch()
}

// nackAction is what becomes of events a consumer refuses.
type nackAction int

const (
	nackRetry nackAction = iota
	nackPark
	nackSkip
)

// nack takes back events a consumer refuses. New work goes out at once, before the next message of the consumer.
func (g *group) nack(c *consumer, ids []uuid.UUID, action nackAction, reason string) {
	g.mu.Lock()
	var park []*item
	for _, id := range ids {
		f, ok := c.inFlight[id]
		if !ok {
			continue
		}
		delete(c.inFlight, id)
		switch {
		case action == nackSkip:
			g.finish(f.item)
		case action == nackPark || !g.again(f.item):
			park = append(park, f.item)
		}
	}
	g.dispatch()
	g.mu.Unlock()
	g.park(park, reason)
}

// again queues an event once more; false means it was tried often enough.
func (g *group) again(i *item) bool {
	if i.retries++; i.retries > g.config.MaxRetryCount {
		return false
	}
	g.retry = append(g.retry, i)
	return true
}

// finish is the end of an event's way. The checkpoint follows the oldest that is not finished.
func (g *group) finish(i *item) {
	i.done = true
	if i.replayed {
		return
	}
	for len(g.order) > 0 && g.order[0].done {
		g.finished = g.order[0].place
		g.unsaved++
		g.order[0] = nil
		g.order = g.order[1:]
	}
	if g.unsaved >= max(g.config.MaxCheckpointCount, 1) {
		signal(g.save)
	}
}

package embedded

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// persistentServer is the PersistentSubscriptions service.
type persistentServer struct {
	persistent.UnimplementedPersistentSubscriptionsServer
	groups *groups
}

// outcome is a problem as the end of a unary call.
func outcome(ctx context.Context, p *problem) error {
	if p == nil {
		return nil
	}
	if p.trailer != nil {
		if err := grpc.SetTrailer(ctx, p.trailer); err != nil {
			return err
		}
	}
	return p.err()
}

// key names a group by what requests have in common.
func key(stream *shared.StreamIdentifier, all *shared.Empty, group string) (groupKey, *problem) {
	k := groupKey{Source: string(stream.GetStreamName()), Name: group}
	if all != nil {
		k.Source = allSource
	}
	if k.Name == "" {
		return k, invalid("a group name is required")
	}
	if k.Source != allSource {
		if err := eventlog.ValidateStreamName(k.Source); err != nil {
			return k, invalid(err.Error())
		}
	}
	if err := eventlog.ValidateStreamName(k.checkpointStream()); err != nil {
		return k, invalid("the names of stream and group are too long together")
	}
	return k, nil
}

// Create makes a group.
func (s *persistentServer) Create(ctx context.Context, req *persistent.CreateReq) (*persistent.CreateResp, error) {
	o := req.GetOptions()
	var all *shared.Empty
	if o.GetAll() != nil {
		all = empty
	}
	// Old clients say the stream and where to start elsewhere.
	stream, start := o.GetStreamIdentifier(), streamStart(o.GetSettings().GetRevision()) //nolint:staticcheck // deprecated
	if n := o.GetStream(); n != nil {
		stream = n.GetStreamIdentifier()
		switch r := n.GetRevisionOption().(type) {
		case *persistent.CreateReq_StreamOptions_Revision:
			start = streamStart(r.Revision)
		case *persistent.CreateReq_StreamOptions_Start:
			start = streamStart(0)
		default:
			start = streamEnd
		}
	}
	k, p := key(stream, all, o.GetGroupName())
	if p != nil {
		return nil, outcome(ctx, p)
	}
	c := groupConfig{groupKey: k, StartFrom: start}
	if a := o.GetAll(); a != nil {
		c.StartFrom = allEnd
		switch x := a.GetAllOption().(type) {
		case *persistent.CreateReq_AllOptions_Position:
			c.StartFrom = allStart(x.Position.GetCommitPosition())
		case *persistent.CreateReq_AllOptions_Start:
			c.StartFrom = allStart(0)
		}
		c.Filter = storedFilter(a.GetFilter())
		if _, p := c.filter(); p != nil {
			return nil, outcome(ctx, p)
		}
	}
	set := o.GetSettings()
	c.groupSettings = settingsOf(set)
	c.Strategy = cmp.Or(set.GetConsumerStrategy(), set.GetNamedConsumerStrategy().String()) //nolint:staticcheck // deprecated
	if p := s.complete(&c); p != nil {
		return nil, outcome(ctx, p)
	}
	return &persistent.CreateResp{}, outcome(ctx, s.groups.create(c))
}

// Update changes a group.
func (s *persistentServer) Update(ctx context.Context, req *persistent.UpdateReq) (*persistent.UpdateResp, error) {
	o := req.GetOptions()
	var all *shared.Empty
	if o.GetAll() != nil {
		all = empty
	}
	stream, start := o.GetStreamIdentifier(), streamStart(o.GetSettings().GetRevision()) //nolint:staticcheck // deprecated
	if n := o.GetStream(); n != nil {
		stream = n.GetStreamIdentifier()
		switch r := n.GetRevisionOption().(type) {
		case *persistent.UpdateReq_StreamOptions_Revision:
			start = streamStart(r.Revision)
		case *persistent.UpdateReq_StreamOptions_Start:
			start = streamStart(0)
		default:
			start = streamEnd
		}
	}
	k, p := key(stream, all, o.GetGroupName())
	if p != nil {
		return nil, outcome(ctx, p)
	}
	c := groupConfig{groupKey: k, StartFrom: start}
	if a := o.GetAll(); a != nil {
		c.StartFrom = allEnd
		switch x := a.GetAllOption().(type) {
		case *persistent.UpdateReq_AllOptions_Position:
			c.StartFrom = allStart(x.Position.GetCommitPosition())
		case *persistent.UpdateReq_AllOptions_Start:
			c.StartFrom = allStart(0)
		}
	}
	c.groupSettings = settingsOf(o.GetSettings())
	c.Strategy = o.GetSettings().GetNamedConsumerStrategy().String()
	if p := s.complete(&c); p != nil {
		return nil, outcome(ctx, p)
	}
	return &persistent.UpdateResp{}, outcome(ctx, s.groups.update(c))
}

// Places as clients are told them.
const (
	streamEnd = "-1"
	allEnd    = "C:-1/P:-1"
)

func streamStart(revision uint64) string { return strconv.FormatInt(clamp(revision), 10) }

func allStart(position uint64) string { return allPlace(clamp(position)) }

func allPlace(position int64) string {
	n := strconv.FormatInt(position, 10)
	return "C:" + n + "/P:" + n
}

// groupSettingsMessage is what the settings of Create and Update offer.
type groupSettingsMessage interface {
	GetResolveLinks() bool
	GetExtraStatistics() bool
	GetMaxRetryCount() int32
	GetMinCheckpointCount() int32
	GetMaxCheckpointCount() int32
	GetMaxSubscriberCount() int32
	GetLiveBufferSize() int32
	GetReadBatchSize() int32
	GetHistoryBufferSize() int32
	GetMessageTimeoutTicks() int64
	GetMessageTimeoutMs() int32
	GetCheckpointAfterTicks() int64
	GetCheckpointAfterMs() int32
}

func settingsOf(m groupSettingsMessage) groupSettings {
	const ticks = 10_000 // of 100 ns in a millisecond
	return groupSettings{
		ResolveLinks: m.GetResolveLinks(), ExtraStatistics: m.GetExtraStatistics(),
		MaxRetryCount: m.GetMaxRetryCount(), MaxSubscriberCount: m.GetMaxSubscriberCount(),
		MinCheckpointCount: m.GetMinCheckpointCount(), MaxCheckpointCount: m.GetMaxCheckpointCount(),
		LiveBufferSize: m.GetLiveBufferSize(), ReadBatchSize: m.GetReadBatchSize(), HistorySize: m.GetHistoryBufferSize(),
		MessageTimeout:  max(m.GetMessageTimeoutMs(), int32(min(m.GetMessageTimeoutTicks()/ticks, math.MaxInt32))),
		CheckpointAfter: max(m.GetCheckpointAfterMs(), int32(min(m.GetCheckpointAfterTicks()/ticks, math.MaxInt32))),
	}
}

// complete checks the settings and finds the place to start behind.
func (s *persistentServer) complete(c *groupConfig) *problem {
	switch c.Strategy {
	case dispatchToSingle, roundRobin, pinned, pinnedByCorrelation:
	default:
		return invalid("the consumer strategy " + strconv.Quote(c.Strategy) + " is not offered")
	}
	if min(c.MaxRetryCount, c.MaxSubscriberCount, c.MinCheckpointCount, c.MaxCheckpointCount, c.LiveBufferSize,
		c.ReadBatchSize, c.HistorySize, c.MessageTimeout, c.CheckpointAfter) < 0 {
		return invalid("counts, sizes and times cannot be negative")
	}
	log := s.groups.log
	switch c.StartFrom {
	case allEnd:
		c.After = int64(log.LastPosition())
	case streamEnd:
		cursor, err := log.FollowStream(c.Source, eventlog.FromEnd)
		if err != nil {
			return s.groups.server.explain(s.groups.server.ctx, err)
		}
		c.After = cursor.Revision()
		cursor.Close()
	default:
		first, _, _ := strings.Cut(strings.TrimPrefix(c.StartFrom, "C:"), "/")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return invalid("invalid start " + c.StartFrom)
		}
		c.After = n - 1 // the event at the start is the first
		if c.Source == allSource {
			c.After = max(c.After, 0)
		}
	}
	return nil
}

func storedFilter(f *persistent.CreateReq_AllOptions_FilterOptions) *groupFilter {
	if f == nil {
		return nil
	}
	if e := f.GetStreamIdentifier(); e != nil {
		return &groupFilter{OnStream: true, Regex: e.GetRegex(), Prefixes: e.GetPrefix()}
	}
	return &groupFilter{Regex: f.GetEventType().GetRegex(), Prefixes: f.GetEventType().GetPrefix()}
}

// Delete ends a group.
func (s *persistentServer) Delete(ctx context.Context, req *persistent.DeleteReq) (*persistent.DeleteResp, error) {
	o := req.GetOptions()
	k, p := key(o.GetStreamIdentifier(), o.GetAll(), o.GetGroupName())
	if p == nil {
		p = s.groups.remove(k)
	}
	return &persistent.DeleteResp{}, outcome(ctx, p)
}

// ReplayParked brings back events that were laid aside.
func (s *persistentServer) ReplayParked(ctx context.Context, req *persistent.ReplayParkedReq) (*persistent.ReplayParkedResp, error) {
	o := req.GetOptions()
	g, p := s.named(o.GetStreamIdentifier(), o.GetAll(), o.GetGroupName())
	if p == nil {
		stopAt := int64(math.MaxInt64)
		if at, ok := o.GetStopAtOption().(*persistent.ReplayParkedReq_Options_StopAt); ok {
			stopAt = at.StopAt
		}
		p = g.replay(ctx, stopAt)
	}
	return &persistent.ReplayParkedResp{}, outcome(ctx, p)
}

// RestartSubsystem makes all groups begin anew at their checkpoints.
func (s *persistentServer) RestartSubsystem(ctx context.Context, _ *shared.Empty) (*shared.Empty, error) {
	return empty, outcome(ctx, s.groups.restart())
}

func (s *persistentServer) named(stream *shared.StreamIdentifier, all *shared.Empty, name string) (*group, *problem) {
	k, p := key(stream, all, name)
	if p != nil {
		return nil, p
	}
	return s.groups.find(k)
}

// GetInfo describes a group.
func (s *persistentServer) GetInfo(ctx context.Context, req *persistent.GetInfoReq) (*persistent.GetInfoResp, error) {
	o := req.GetOptions()
	g, p := s.named(o.GetStreamIdentifier(), o.GetAll(), o.GetGroupName())
	if p != nil {
		return nil, outcome(ctx, p)
	}
	info, p := g.info()
	return &persistent.GetInfoResp{SubscriptionInfo: info}, outcome(ctx, p)
}

// List describes the groups of a stream, or all.
func (s *persistentServer) List(ctx context.Context, req *persistent.ListReq) (*persistent.ListResp, error) {
	source := ""
	if f := req.GetOptions().GetListForStream(); f != nil {
		source = string(f.GetStream().GetStreamName())
		if f.GetAll() != nil {
			source = allSource
		}
	}
	found, p := s.groups.list(source)
	if p == nil && source != "" && len(found) == 0 {
		p = noGroup(groupKey{Source: source})
	}
	if p != nil {
		return nil, outcome(ctx, p)
	}
	out := &persistent.ListResp{}
	for _, g := range found {
		info, p := g.info()
		if p != nil {
			return nil, outcome(ctx, p)
		}
		out.Subscriptions = append(out.Subscriptions, info)
	}
	return out, nil
}

// info describes the group now.
func (g *group) info() (*persistent.SubscriptionInfo, *problem) {
	parked, p := g.countParked()
	if p != nil {
		return nil, p
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := &g.config
	i := &persistent.SubscriptionInfo{
		EventSource: g.key.Source, GroupName: g.key.Name, Status: "Live", StartFrom: c.StartFrom, TotalItems: g.total,
		ResolveLinkTos: c.ResolveLinks, ExtraStatistics: c.ExtraStatistics, MessageTimeoutMilliseconds: c.MessageTimeout,
		MaxRetryCount: c.MaxRetryCount, LiveBufferSize: c.LiveBufferSize, BufferSize: c.HistorySize, ReadBatchSize: c.ReadBatchSize,
		CheckPointAfterMilliseconds: c.CheckpointAfter, MinCheckPointCount: c.MinCheckpointCount,
		MaxCheckPointCount: c.MaxCheckpointCount, NamedConsumerStrategy: c.Strategy, MaxSubscriberCount: c.MaxSubscriberCount,
		LiveBufferCount: int64(len(g.waiting)), RetryBufferCount: int32(len(g.retry)), ParkedMessageCount: parked,
	}
	if g.hasSaved {
		i.LastCheckpointedEventPosition = g.place(g.saved)
	}
	if g.read > c.After {
		i.LastKnownEventPosition = g.place(g.read)
	}
	for _, c := range g.consumers {
		n := int32(len(c.inFlight))
		i.TotalInFlightMessages += n
		i.Connections = append(i.Connections, &persistent.SubscriptionInfo_ConnectionInfo{
			From: c.from, Username: c.user, TotalItems: c.total, AvailableSlots: int32(c.slots) - n, InFlightMessages: n,
		})
	}
	i.OutstandingMessagesCount = i.TotalInFlightMessages
	return i, nil
}

func (g *group) place(at int64) string {
	if g.key.Source == allSource {
		return allPlace(at)
	}
	return strconv.FormatInt(at, 10)
}

// countParked is how many events lie aside.
func (g *group) countParked() (int64, *problem) {
	s := g.owner
	var edges [2]int64
	for i, q := range []eventlog.StreamRead{{Limit: 1}, {Limit: 1, From: eventlog.FromEnd, Backwards: true}} {
		for e, err := range s.log.ReadStream(s.server.ctx, g.key.parkedStream(), q) {
			var missing *eventlog.StreamNotFoundError
			if errors.As(err, &missing) {
				return 0, nil
			}
			if err != nil {
				return 0, s.server.explain(s.server.ctx, err)
			}
			edges[i] = e.Revision + 1
		}
	}
	if edges[1] == 0 {
		return 0, nil
	}
	return edges[1] - edges[0] + 1, nil
}

// Read connects a consumer to a group: the server sends events, the client acknowledges or refuses them.
func (s *persistentServer) Read(stream persistent.PersistentSubscriptions_ReadServer) error {
	p, err := s.consume(stream)
	if p != nil {
		stream.SetTrailer(p.trailer)
		return p.err()
	}
	return err
}

func (s *persistentServer) consume(stream persistent.PersistentSubscriptions_ReadServer) (*problem, error) {
	m, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	o := m.GetOptions()
	if o == nil {
		return invalid("options come first"), nil
	}
	g, p := s.named(o.GetStreamIdentifier(), o.GetAll(), o.GetGroupName())
	if p != nil {
		return p, nil
	}
	c := &consumer{
		slots: max(int(o.GetBufferSize()), 1), wake: make(chan struct{}, 1), gone: make(chan struct{}),
		inFlight: map[uuid.UUID]flight{}, from: from(stream.Context()), user: user(stream.Context()),
	}
	if p := g.join(c); p != nil {
		return p, nil
	}
	defer g.leave(c)
	if err := stream.Send(&persistent.ReadResp{Content: &persistent.ReadResp_SubscriptionConfirmation_{
		SubscriptionConfirmation: &persistent.ReadResp_SubscriptionConfirmation{SubscriptionId: g.key.String()}}}); err != nil {
		return nil, err
	}
	_, text := o.GetUuidOption().GetContent().(*persistent.ReadReq_Options_UUIDOption_String_)
	answered := make(chan error, 1)
	go func() { answered <- g.listen(c, stream) }()
	for {
		select {
		case <-c.wake:
			for _, m := range g.outgoing(c, text) {
				if err := stream.Send(m); err != nil {
					return nil, err
				}
			}
		case err := <-answered:
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return nil, err
		case <-c.gone:
			return c.reason, nil
		case <-s.groups.server.ctx.Done():
			return s.groups.server.explain(stream.Context(), context.Cause(s.groups.server.ctx)), nil
		}
	}
}

// listen takes what the client says of its events.
func (g *group) listen(c *consumer, stream persistent.PersistentSubscriptions_ReadServer) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch x := m.GetContent().(type) {
		case *persistent.ReadReq_Ack_:
			ids, p := parseIDs(x.Ack.GetIds())
			if p != nil {
				return p.err()
			}
			g.ack(c, ids)
		case *persistent.ReadReq_Nack_:
			ids, p := parseIDs(x.Nack.GetIds())
			if p != nil {
				return p.err()
			}
			switch x.Nack.GetAction() {
			case persistent.ReadReq_Nack_Stop:
				return g.dropped().err()
			case persistent.ReadReq_Nack_Park:
				g.nack(c, ids, nackPark, x.Nack.GetReason())
			case persistent.ReadReq_Nack_Skip:
				g.nack(c, ids, nackSkip, x.Nack.GetReason())
			default:
				g.nack(c, ids, nackRetry, x.Nack.GetReason())
			}
		default:
			return invalid("options come once").err()
		}
	}
}

func parseIDs(list []*shared.UUID) ([]uuid.UUID, *problem) {
	out := make([]uuid.UUID, len(list))
	for i, u := range list {
		var ok bool
		if out[i], ok = parseUUID(u); !ok {
			return nil, invalid("an event id is missing or malformed")
		}
	}
	return out, nil
}

// message is the item as it goes to a client.
func (i *item) message(textUUID bool) *persistent.ReadResp {
	e := &persistent.ReadResp_ReadEvent{
		Event: recordedEvent(i.event, textUUID), Link: recordedEvent(i.link, textUUID),
		Count: &persistent.ReadResp_ReadEvent_RetryCount{RetryCount: i.retries},
	}
	at := i.event
	if i.link != nil {
		at = i.link
	}
	e.Position = &persistent.ReadResp_ReadEvent_CommitPosition{CommitPosition: at.Position}
	return &persistent.ReadResp{Content: &persistent.ReadResp_Event{Event: e}}
}

func recordedEvent(e *eventlog.Event, textUUID bool) *persistent.ReadResp_ReadEvent_RecordedEvent {
	if e == nil {
		return nil
	}
	id := structuredUUID(e.ID)
	if textUUID {
		id = &shared.UUID{Value: &shared.UUID_String_{String_: e.ID.String()}}
	}
	return &persistent.ReadResp_ReadEvent_RecordedEvent{
		Id: id, StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(e.Stream)}, StreamRevision: uint64(e.Revision),
		PreparePosition: e.Position, CommitPosition: e.Position, CustomMetadata: e.Metadata, Data: e.Data,
		Metadata: map[string]string{"type": e.Type, "content-type": contentType(e), "created": strconv.FormatInt(e.Created, 10)},
	}
}

func from(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// user is who a call says it comes from.
func user(ctx context.Context) string {
	for _, header := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		_, encoded, _ := strings.Cut(header, " ")
		if plain, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			name, _, _ := strings.Cut(string(plain), ":")
			return name
		}
	}
	return "anonymous"
}

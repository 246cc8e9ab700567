package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// settings are the client's defaults, changed.
func settings(change func(*esdb.PersistentSubscriptionSettings)) *esdb.PersistentSubscriptionSettings {
	s := esdb.SubscriptionSettingsDefault()
	if change != nil {
		change(&s)
	}
	return &s
}

func createGroup(t testing.TB, c *esdb.Client, stream string, change func(*esdb.PersistentSubscriptionSettings)) {
	t.Helper()
	require.NoError(t, c.CreatePersistentSubscription(within(t), stream, "g",
		esdb.PersistentStreamSubscriptionOptions{StartFrom: esdb.Start{}, Settings: settings(change)}))
}

func consume(t testing.TB, c *esdb.Client, stream string, buffer uint32) *esdb.PersistentSubscription {
	t.Helper()
	sub, err := c.SubscribeToPersistentSubscription(within(t), stream, "g", esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: buffer})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return sub
}

// receive is the next event of a consumer.
func receive(t testing.TB, sub *esdb.PersistentSubscription) *esdb.EventAppeared {
	t.Helper()
	m := sub.Recv()
	require.NotNil(t, m.EventAppeared, "%+v", m.SubscriptionDropped)
	return m.EventAppeared
}

func number(e *esdb.EventAppeared) int { return int(e.Event.Event.EventNumber) }

func groupInfo(t testing.TB, c *esdb.Client, stream string) *esdb.PersistentSubscriptionInfo {
	t.Helper()
	i, err := c.GetPersistentSubscriptionInfo(within(t), stream, "g", esdb.GetPersistentSubscriptionOptions{})
	require.NoError(t, err)
	return i
}

func TestGroupLifecycle(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("store", Options{FS: fs})
	require.NoError(t, err)
	c := connect(t, s)
	_, err = c.GetPersistentSubscriptionInfo(within(t), "a", "g", esdb.GetPersistentSubscriptionOptions{})
	require.Equal(t, esdb.ErrorCodeResourceNotFound, code(err))
	createGroup(t, c, "a", func(s *esdb.PersistentSubscriptionSettings) { s.CheckpointLowerBound, s.CheckpointUpperBound = 1, 1 })
	err = c.CreatePersistentSubscription(within(t), "a", "g", esdb.PersistentStreamSubscriptionOptions{})
	require.Equal(t, esdb.ErrorCodeResourceAlreadyExists, code(err))
	appendTo(t, c, "a", esdb.NoStream{}, events(5)...)
	sub := consume(t, c, "a", 2)
	first, second := receive(t, sub), receive(t, sub)
	require.Equal(t, []int{0, 1}, []int{number(first), number(second)})
	require.NoError(t, sub.Ack(second.Event))
	third := receive(t, sub)
	require.Equal(t, 2, number(third))
	require.NoError(t, sub.Ack(first.Event, third.Event))
	require.Equal(t, 3, number(receive(t, sub)))
	require.Eventually(t, func() bool {
		at := groupInfo(t, c, "a").Stats.LastCheckpointedEventRevision
		return at != nil && *at == 2
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, s.Close())

	// After a restart the group is there and goes on behind its checkpoint.
	s = openServer(t, Options{FS: fs})
	c = connect(t, s)
	all, err := c.ListAllPersistentSubscriptions(within(t), esdb.ListPersistentSubscriptionsOptions{})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, int32(1), all[0].Settings.CheckpointUpperBound)
	require.Equal(t, esdb.Start{}, all[0].Settings.StartFrom)
	sub = consume(t, c, "a", 10)
	require.Equal(t, 3, number(receive(t, sub)))
	require.Equal(t, 4, number(receive(t, sub)))
	require.Len(t, groupInfo(t, c, "a").Connections, 1)

	// Other settings drop the consumers.
	require.NoError(t, c.UpdatePersistentSubscription(within(t), "a", "g", esdb.PersistentStreamSubscriptionOptions{
		Settings: settings(func(s *esdb.PersistentSubscriptionSettings) { s.MaxSubscriberCount = 1 })}))
	require.NotNil(t, sub.Recv().SubscriptionDropped)
	sub = consume(t, c, "a", 10)
	require.Equal(t, 3, number(receive(t, sub)))
	require.Equal(t, 4, number(receive(t, sub)))
	_, err = c.SubscribeToPersistentSubscription(within(t), "a", "g", esdb.SubscribeToPersistentSubscriptionOptions{})
	require.Error(t, err)

	require.NoError(t, c.DeletePersistentSubscription(within(t), "a", "g", esdb.DeletePersistentSubscriptionOptions{}))
	require.NotNil(t, sub.Recv().SubscriptionDropped)
	err = c.DeletePersistentSubscription(within(t), "a", "g", esdb.DeletePersistentSubscriptionOptions{})
	require.Equal(t, esdb.ErrorCodeResourceNotFound, code(err))
	createGroup(t, c, "a", nil)
	sub = consume(t, c, "a", 10)
	require.Equal(t, 0, number(receive(t, sub)), "a new group of the name knows nothing of the old one")
}

// TestGroupRefusals retries, parks, skips and replays.
func TestGroupRefusals(t *testing.T) {
	_, c := open(t)
	createGroup(t, c, "a", func(s *esdb.PersistentSubscriptionSettings) { s.MaxRetryCount = 2 })
	appendTo(t, c, "a", esdb.NoStream{}, events(3)...)
	sub := consume(t, c, "a", 10)
	got := []*esdb.EventAppeared{receive(t, sub), receive(t, sub), receive(t, sub)}
	require.NoError(t, sub.Nack("not now", esdb.NackActionRetry, got[0].Event))
	again := receive(t, sub)
	require.Equal(t, []int{0, 1}, []int{number(again), again.RetryCount})
	require.NoError(t, sub.Nack("never mind", esdb.NackActionSkip, got[1].Event))
	require.NoError(t, sub.Nack("later", esdb.NackActionPark, got[2].Event))
	require.NoError(t, sub.Nack("still not", esdb.NackActionRetry, again.Event))
	again = receive(t, sub)
	require.Equal(t, 2, again.RetryCount)
	require.NoError(t, sub.Nack("too often", esdb.NackActionRetry, again.Event))
	parked := func() int64 { return groupInfo(t, c, "a").Stats.ParkedMessagesCount }
	require.Eventually(t, func() bool { return parked() == 2 }, 10*time.Second, 10*time.Millisecond)
	links, err := all(c.ReadStream(within(t), "$persistentsubscription-a::g-parked", esdb.ReadStreamOptions{}, 10))
	require.NoError(t, err)
	require.Equal(t, "2@a", string(links[0].Event.Data))
	require.Contains(t, string(links[0].Event.UserMetadata), "later")

	require.NoError(t, c.ReplayParkedMessages(within(t), "a", "g", esdb.ReplayParkedMessagesOptions{}))
	for _, n := range []int{2, 0} {
		e := receive(t, sub)
		require.Equal(t, n, number(e))
		require.Equal(t, "$>", e.Event.Link.EventType)
		require.NoError(t, sub.Ack(e.Event))
	}
	require.Zero(t, parked())
	require.NoError(t, c.ReplayParkedMessages(within(t), "a", "g", esdb.ReplayParkedMessagesOptions{}), "nothing there")
	require.NoError(t, sub.Nack("stop", esdb.NackActionStop, again.Event))
	require.NotNil(t, sub.Recv().SubscriptionDropped)
}

// TestGroupTimeout: what is not acknowledged goes to another consumer, and what a consumer leaves behind too.
func TestGroupTimeout(t *testing.T) {
	_, c := open(t)
	createGroup(t, c, "a", func(s *esdb.PersistentSubscriptionSettings) { s.MessageTimeout = 100 })
	appendTo(t, c, "a", esdb.NoStream{}, events(1)...)
	silent := consume(t, c, "a", 1)
	receive(t, silent)
	e := receive(t, silent)
	require.Equal(t, []int{0, 1}, []int{number(e), e.RetryCount})
	other := consume(t, c, "a", 1)
	require.NoError(t, silent.Close())
	e = receive(t, other)
	require.Equal(t, 0, number(e))
	require.NoError(t, other.Ack(e.Event))
	appendTo(t, c, "a", esdb.Any{}, events(1)...)
	require.Equal(t, 1, number(receive(t, other)))
}

func TestGroupStrategies(t *testing.T) {
	_, c := open(t)
	for i, strategy := range []esdb.ConsumerStrategy{esdb.ConsumerStrategyRoundRobin, esdb.ConsumerStrategyDispatchToSingle, esdb.ConsumerStrategyPinned} {
		stream := fmt.Sprint("a", i)
		createGroup(t, c, stream, func(s *esdb.PersistentSubscriptionSettings) { s.ConsumerStrategyName = strategy })
		one, two := consume(t, c, stream, 10), consume(t, c, stream, 10)
		appendTo(t, c, stream, esdb.NoStream{}, events(4)...)
		if strategy == esdb.ConsumerStrategyRoundRobin {
			require.Equal(t, []int{0, 2}, []int{number(receive(t, one)), number(receive(t, one))})
			require.Equal(t, []int{1, 3}, []int{number(receive(t, two)), number(receive(t, two))})
			continue
		}
		var with []int64
		require.Eventually(t, func() bool {
			with = nil
			for _, x := range groupInfo(t, c, stream).Connections {
				with = append(with, x.InFlightMessages)
			}
			return with[0]+with[1] == 4
		}, 10*time.Second, 10*time.Millisecond)
		require.Contains(t, with, int64(4), "%s: one gets them all", strategy)
	}
}

func TestGroupOnAll(t *testing.T) {
	s, c := open(t)
	appendTo(t, c, "before", esdb.NoStream{}, events(1)...)
	require.NoError(t, c.CreatePersistentSubscriptionToAll(within(t), "g", esdb.PersistentAllSubscriptionOptions{
		StartFrom: esdb.Start{},
		Settings:  settings(func(s *esdb.PersistentSubscriptionSettings) { s.CheckpointLowerBound, s.CheckpointUpperBound = 1, 1 }),
		Filter:    &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"wanted-", "$persistentsubscription-"}}}))
	appendTo(t, c, "unwanted", esdb.NoStream{}, events(1)...)
	appendTo(t, c, "wanted-1", esdb.NoStream{}, events(2)...)
	sub, err := c.SubscribeToPersistentSubscriptionToAll(within(t), "g", esdb.SubscribeToPersistentSubscriptionOptions{})
	require.NoError(t, err)
	defer sub.Close()
	for n := range 2 {
		e := receive(t, sub)
		require.Equal(t, n, number(e))
		require.NoError(t, sub.Ack(e.Event))
	}
	saved := func() bool {
		i, err := c.GetPersistentSubscriptionInfoToAll(within(t), "g", esdb.GetPersistentSubscriptionOptions{})
		require.NoError(t, err)
		return i.Stats.LastCheckpointedPosition != nil && *i.Stats.LastCheckpointedPosition == *i.Stats.LastKnownPosition
	}
	require.Eventually(t, saved, 10*time.Second, 10*time.Millisecond)
	before := s.Log().Stats().Events
	appendTo(t, c, "wanted-2", esdb.NoStream{}, events(1)...)
	next := receive(t, sub)
	require.Equal(t, "wanted-2", next.Event.OriginalEvent().StreamID, "its own checkpoints are no events to it")
	require.NoError(t, sub.Ack(next.Event))
	require.Eventually(t, saved, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, before+2, s.Log().Stats().Events, "the event and one checkpoint")
	whole, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{}, 1000))
	require.NoError(t, err)
	for _, e := range whole {
		require.NotContains(t, e.Event.StreamID, "$persistentsubscription-$all::", "nobody else sees them either")
	}
	require.NotEmpty(t, mustRead(t, c, "$persistentsubscription-$all::g-checkpoint"), "except by name")
	toAll, err := c.ListPersistentSubscriptionsToAll(within(t), esdb.ListPersistentSubscriptionsOptions{})
	require.NoError(t, err)
	require.Len(t, toAll, 1)
	require.NoError(t, c.RestartPersistentSubscriptionSubsystem(within(t), esdb.RestartPersistentSubscriptionSubsystemOptions{}))
	require.NotNil(t, sub.Recv().SubscriptionDropped)
}

func TestGroupResolvesLinks(t *testing.T) {
	s, c := open(t)
	appendTo(t, c, "a", esdb.NoStream{}, events(1)...)
	link := func(to string) eventlog.EventData {
		return eventlog.EventData{ID: event("", "").EventID, Type: eventlog.TypeLink, Data: []byte(to)}
	}
	_, err := s.Log().Append(within(t), "links", eventlog.NoStream, link("0@a"), link("7@a"))
	require.NoError(t, err)
	createGroup(t, c, "links", func(s *esdb.PersistentSubscriptionSettings) { s.ResolveLinkTos = true })
	sub := consume(t, c, "links", 10)
	e := receive(t, sub)
	require.Equal(t, "a", e.Event.Event.StreamID)
	require.Equal(t, "links", e.Event.Link.StreamID)
	require.NoError(t, sub.Ack(e.Event))
	e = receive(t, sub)
	require.Nil(t, e.Event.Event)
	require.NoError(t, sub.Ack(e.Event))
	require.Eventually(t, func() bool { return groupInfo(t, c, "links").Stats.TotalInFlightMessages == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestGroupBadRequests(t *testing.T) {
	s := openServer(t, Options{})
	conn := dial(t, s)
	c := persistent.NewPersistentSubscriptionsClient(conn)
	ctx := within(t)
	create := func(o *persistent.CreateReq_Options) codes.Code {
		_, err := c.Create(ctx, &persistent.CreateReq{Options: o})
		return status.Code(err)
	}
	stream := &persistent.CreateReq_Options_Stream{Stream: &persistent.CreateReq_StreamOptions{StreamIdentifier: identifier("a")}}
	for name, o := range map[string]*persistent.CreateReq_Options{
		"nothing":  nil,
		"no group": {StreamOption: stream},
		"no name":  {StreamOption: &persistent.CreateReq_Options_Stream{Stream: &persistent.CreateReq_StreamOptions{}}, GroupName: "g"},
		"strategy": {StreamOption: stream, GroupName: "g", Settings: &persistent.CreateReq_Settings{ConsumerStrategy: "mine"}},
		"negative": {StreamOption: stream, GroupName: "g", Settings: &persistent.CreateReq_Settings{MaxRetryCount: -1}},
		"filter": {GroupName: "g", StreamOption: &persistent.CreateReq_Options_All{All: &persistent.CreateReq_AllOptions{
			FilterOption: &persistent.CreateReq_AllOptions_Filter{Filter: &persistent.CreateReq_AllOptions_FilterOptions{}}}}},
		"too long": {StreamOption: stream, GroupName: string(make([]byte, 5000))},
	} {
		require.Equal(t, codes.InvalidArgument, create(o), name)
	}
	// An old client's request: the stream and the start where they used to be.
	old := &persistent.CreateReq_Settings{MessageTimeout: &persistent.CreateReq_Settings_MessageTimeoutTicks{MessageTimeoutTicks: 50_000}}
	old.Revision = 3                                                                                                                    //nolint:staticcheck // deprecated
	require.Equal(t, codes.OK, create(&persistent.CreateReq_Options{StreamIdentifier: identifier("a"), GroupName: "g", Settings: old})) //nolint:staticcheck
	info, err := c.GetInfo(ctx, &persistent.GetInfoReq{Options: &persistent.GetInfoReq_Options{
		StreamOption: &persistent.GetInfoReq_Options_StreamIdentifier{StreamIdentifier: identifier("a")}, GroupName: "g"}})
	require.NoError(t, err)
	require.Equal(t, "3", info.GetSubscriptionInfo().GetStartFrom())
	require.Equal(t, int32(5), info.GetSubscriptionInfo().GetMessageTimeoutMilliseconds())

	options := &persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: &persistent.ReadReq_Options{
		StreamOption: &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: identifier("a")}, GroupName: "g"}}}
	read := func(messages ...*persistent.ReadReq) codes.Code {
		call, err := c.Read(ctx)
		require.NoError(t, err)
		for _, m := range messages {
			require.NoError(t, call.Send(m))
		}
		for err == nil {
			_, err = call.Recv()
		}
		return status.Code(err)
	}
	ack := &persistent.ReadReq{Content: &persistent.ReadReq_Ack_{Ack: &persistent.ReadReq_Ack{Ids: []*shared.UUID{{}}}}}
	require.Equal(t, codes.InvalidArgument, read(&persistent.ReadReq{}))
	require.Equal(t, codes.InvalidArgument, read(options, options))
	require.Equal(t, codes.InvalidArgument, read(options, ack))
	_, err = c.List(ctx, &persistent.ListReq{Options: &persistent.ListReq_Options{ListOption: &persistent.ListReq_Options_ListForStream{
		ListForStream: &persistent.ListReq_StreamOption{StreamOption: &persistent.ListReq_StreamOption_Stream{Stream: identifier("none")}}}}})
	require.Equal(t, codes.NotFound, status.Code(err))
}

// TestGroupLosesNothing lets consumers come, go, refuse and stay silent, and the server restart: every event is
// acknowledged in the end.
func TestGroupLosesNothing(t *testing.T) {
	const total = 400
	fs := vfs.NewMem()
	acked := map[int]bool{}
	var mu sync.Mutex
	for life := 0; ; life++ {
		require.Less(t, life, 100)
		s, err := Open("store", Options{FS: fs, NoSync: true})
		require.NoError(t, err)
		c := connect(t, s)
		if life == 0 {
			createGroup(t, c, "a", func(s *esdb.PersistentSubscriptionSettings) {
				s.MessageTimeout, s.MaxRetryCount, s.CheckpointLowerBound, s.CheckpointUpperBound, s.CheckpointAfter = 200, 1000, 1, 20, 50
				s.HistoryBufferSize, s.LiveBufferSize = 20, 20
			})
			appendTo(t, c, "a", esdb.NoStream{}, events(total)...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for ctx.Err() == nil {
					churn(ctx, c, func(n int) {
						mu.Lock()
						defer mu.Unlock()
						acked[n] = true
					})
				}
			})
		}
		all.Wait()
		cancel()
		require.NoError(t, s.Close())
		if len(acked) == total {
			return
		}
	}
}

// churn is one consumer that behaves badly.
func churn(ctx context.Context, c *esdb.Client, acked func(int)) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(10+rand.IntN(100))*time.Millisecond)
	defer cancel()
	sub, err := c.SubscribeToPersistentSubscription(ctx, "a", "g", esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: uint32(1 + rand.IntN(10))})
	if err != nil {
		return
	}
	defer sub.Close()
	for {
		m := sub.Recv()
		if m.EventAppeared == nil {
			return
		}
		switch rand.IntN(10) {
		case 0:
		case 1:
			_ = sub.Nack("no", esdb.NackActionRetry, m.EventAppeared.Event)
		default:
			if sub.Ack(m.EventAppeared.Event) == nil {
				acked(number(m.EventAppeared))
			}
		}
	}
}

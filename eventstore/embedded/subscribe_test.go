package embedded

import (
	"fmt"
	"sync"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
)

func subscribeAll(t testing.TB, c *esdb.Client, opts esdb.SubscribeToAllOptions) *esdb.Subscription {
	t.Helper()
	sub, err := c.SubscribeToAll(within(t), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return sub
}

func subscribe(t testing.TB, c *esdb.Client, stream string, from esdb.StreamPosition) *esdb.Subscription {
	t.Helper()
	sub, err := c.SubscribeToStream(within(t), stream, esdb.SubscribeToStreamOptions{From: from})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return sub
}

// upToLive collects what arrives before a subscription is live: event places and checkpoints, in order.
func upToLive(t testing.TB, sub *esdb.Subscription) (places []string, checkpoints []uint64) {
	t.Helper()
	for {
		switch m := sub.Recv(); {
		case m.EventAppeared != nil:
			e := m.EventAppeared.OriginalEvent()
			places = append(places, fmt.Sprintf("%s/%d", e.StreamID, e.EventNumber))
		case m.CheckPointReached != nil:
			checkpoints = append(checkpoints, m.CheckPointReached.Commit)
		case m.CaughtUp != nil:
			return places, checkpoints
		default:
			require.Fail(t, "dropped", "%v", m.SubscriptionDropped)
		}
	}
}

func arrives(t testing.TB, sub *esdb.Subscription, place string) {
	t.Helper()
	m := sub.Recv()
	require.NotNil(t, m.EventAppeared, "%+v", m)
	e := m.EventAppeared.OriginalEvent()
	require.Equal(t, place, fmt.Sprintf("%s/%d", e.StreamID, e.EventNumber))
}

func TestSubscribeToAll(t *testing.T) {
	_, c := open(t)
	first := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	places, _ := upToLive(t, first)
	require.Empty(t, places, "an empty log is caught up with")
	appendTo(t, c, "a", esdb.NoStream{}, events(2)...)
	whole, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{}, 10))
	require.NoError(t, err)
	after := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: whole[0].Event.Position})
	places, checkpoints := upToLive(t, after)
	require.Equal(t, []string{"a/1"}, places, "a subscription starts after the position")
	require.Empty(t, checkpoints, "checkpoints come with filters only")
	end := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.End{}})
	places, _ = upToLive(t, end)
	require.Empty(t, places)
	appendTo(t, c, "b", esdb.NoStream{}, events(1)...)
	arrives(t, first, "a/0")
	arrives(t, first, "a/1")
	for _, sub := range []*esdb.Subscription{first, after, end} {
		arrives(t, sub, "b/0")
	}
}

func TestSubscribeToStream(t *testing.T) {
	_, c := open(t)
	missing := subscribe(t, c, "a", esdb.Start{})
	places, _ := upToLive(t, missing)
	require.Empty(t, places, "a missing stream is caught up with")
	appendTo(t, c, "a", esdb.NoStream{}, events(3)...)
	appendTo(t, c, "b", esdb.NoStream{}, events(3)...)
	for i := range 3 {
		arrives(t, missing, fmt.Sprintf("a/%d", i))
	}
	after := subscribe(t, c, "a", esdb.Revision(0))
	places, _ = upToLive(t, after)
	require.Equal(t, []string{"a/1", "a/2"}, places, "a subscription starts after the revision")
	end := subscribe(t, c, "a", esdb.End{})
	places, _ = upToLive(t, end)
	require.Empty(t, places)
	appendTo(t, c, "a", esdb.Any{}, events(1)...)
	for _, sub := range []*esdb.Subscription{missing, after, end} {
		arrives(t, sub, "a/3")
	}
	_, err := c.TombstoneStream(within(t), "a", esdb.TombstoneStreamOptions{})
	require.NoError(t, err)
	dropped := end.Recv().SubscriptionDropped
	require.NotNil(t, dropped)
	require.ErrorContains(t, dropped.Error, "'a' is deleted")
}

func TestFilteredSubscriptions(t *testing.T) {
	_, c := open(t)
	for i := range 100 {
		appendTo(t, c, fmt.Sprintf("user-%d", i), esdb.NoStream{}, event("user.created", "{}"))
	}
	setMeta(t, c, "user-0", func(m *esdb.StreamMetadata) { m.SetMaxCount(3) })
	appendTo(t, c, "task-1", esdb.NoStream{}, event("task.created", "{}"))
	whole, err := all(c.ReadAll(within(t), esdb.ReadAllOptions{}, 200))
	require.NoError(t, err)
	require.Len(t, whole, 102, "system events are in the log")
	at := func(i int) uint64 { return whole[i].Event.Position.Commit }

	opts := esdb.SubscribeToAllOptions{From: esdb.Start{}, MaxSearchWindow: 20, CheckpointInterval: 2,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"task-", "job-"}}}
	sub := subscribeAll(t, c, opts)
	places, checkpoints := upToLive(t, sub)
	require.Equal(t, []string{"task-1/0"}, places)
	require.Equal(t, []uint64{at(39), at(79), at(101)}, checkpoints,
		"every window times interval, and one before going live")
	appendTo(t, c, "job-1", esdb.NoStream{}, events(1)...)
	arrives(t, sub, "job-1/0")

	opts.Filter = &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `^task\.`}
	places, _ = upToLive(t, subscribeAll(t, c, opts))
	require.Equal(t, []string{"task-1/0"}, places)
	opts.Filter = &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: `r-4[12]$`}
	places, _ = upToLive(t, subscribeAll(t, c, opts))
	require.Equal(t, []string{"user-41/0", "user-42/0"}, places)
	opts.Filter = &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"task."}}
	opts.MaxSearchWindow = esdb.NoMaxSearchWindow
	places, _ = upToLive(t, subscribeAll(t, c, opts))
	require.Equal(t, []string{"task-1/0"}, places)
	opts.Filter = esdb.ExcludeSystemEventsFilter()
	places, _ = upToLive(t, subscribeAll(t, c, opts))
	require.Len(t, places, 102, "all but the metadata")

	opts.Filter = &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `(?=no)look-ahead`}
	_, err = c.SubscribeToAll(within(t), opts)
	require.ErrorContains(t, err, "regular expression")
}

// TestResumeFromCheckpoint takes up a filtered subscription where a checkpoint was reached: nothing is missed.
func TestResumeFromCheckpoint(t *testing.T) {
	_, c := open(t)
	for i := range 70 {
		appendTo(t, c, fmt.Sprintf("user-%d", i), esdb.NoStream{}, events(1)...)
	}
	appendTo(t, c, "task-1", esdb.NoStream{}, events(1)...)
	opts := esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"task-"}}}
	_, checkpoints := upToLive(t, subscribeAll(t, c, opts))
	require.Len(t, checkpoints, 3, "the client's default is a checkpoint every 32 events")
	for _, cp := range checkpoints[:2] {
		opts.From = esdb.Position{Commit: cp, Prepare: cp}
		places, _ := upToLive(t, subscribeAll(t, c, opts))
		require.Equal(t, []string{"task-1/0"}, places)
	}
	opts.From = esdb.Position{Commit: checkpoints[2], Prepare: checkpoints[2]}
	places, _ := upToLive(t, subscribeAll(t, c, opts))
	require.Empty(t, places)
}

// TestSlowSubscriber leaves subscriptions unread while others write far more than any buffer holds: writers go on, and
// the subscriptions miss nothing when they read at last.
func TestSlowSubscriber(t *testing.T) {
	_, c := open(t)
	slow := subscribeAll(t, c, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	slowStream := subscribe(t, c, "s-0", esdb.Start{})
	const writers, appends, each = 8, 30, 50
	data := fmt.Sprintf(`{"text":"%0500d"}`, 1)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range appends {
				ev := make([]esdb.EventData, each)
				for i := range ev {
					ev[i] = event("happened", data)
				}
				_, err := c.AppendToStream(within(t), fmt.Sprintf("s-%d", w), esdb.AppendToStreamOptions{}, ev...)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[string]uint64{}
	for n := 0; n < writers*appends*each; {
		if e := slow.Recv().EventAppeared; e != nil {
			require.Equal(t, next[e.Event.StreamID], e.Event.EventNumber)
			next[e.Event.StreamID]++
			n++
		}
	}
	for n := uint64(0); n < appends*each; {
		if e := slowStream.Recv().EventAppeared; e != nil {
			require.Equal(t, n, e.Event.EventNumber)
			n++
		}
	}
}

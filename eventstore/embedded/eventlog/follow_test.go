package eventlog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// within is a context for one test step.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

type cursor interface {
	Next(context.Context) (Delivery, error)
}

// untilCaughtUp collects what a cursor delivers until it is live.
func untilCaughtUp(t testing.TB, c cursor) (events []*Event, checkpoints []uint64) {
	t.Helper()
	for {
		d, err := c.Next(within(t))
		require.NoError(t, err)
		events = append(events, d.Events...)
		if d.Checkpoint != 0 {
			checkpoints = append(checkpoints, d.Checkpoint)
		}
		if d.CaughtUp {
			return events, checkpoints
		}
	}
}

func next(t testing.TB, c cursor) *Event {
	t.Helper()
	d, err := c.Next(within(t))
	require.NoError(t, err)
	require.Len(t, d.Events, 1)
	return d.Events[0]
}

func TestFollowAll(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	empty := l.FollowAll(AllFollow{})
	events, _ := untilCaughtUp(t, empty)
	require.Empty(t, events, "an empty log is caught up with at once")

	mustAppend(t, l, "a", NoStream, someEvents(3)...)
	all := readAll(t, l)
	d, err := empty.Next(within(t))
	require.NoError(t, err)
	require.Equal(t, all, d.Events)

	start := l.FollowAll(AllFollow{})
	got, _ := untilCaughtUp(t, start)
	require.Equal(t, all, got)
	behind := l.FollowAll(AllFollow{After: all[0].Position})
	got, _ = untilCaughtUp(t, behind)
	require.Equal(t, all[1:], got, "a position is followed, not included")
	end := l.FollowAll(AllFollow{After: End})
	got, _ = untilCaughtUp(t, end)
	require.Empty(t, got)

	mustAppend(t, l, "b", NoStream, someEvents(1)...)
	for _, c := range []*AllCursor{start, behind, end} {
		require.Equal(t, "b", next(t, c).Stream)
	}
}

func TestCheckpoints(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	for i := range 25 {
		mustAppend(t, l, fmt.Sprintf("a-%d", i), NoStream, someEvents(1)...)
	}
	all := readAll(t, l)
	c := l.FollowAll(AllFollow{Filter: &Filter{StreamPrefixes: []string{"b-"}}, CheckpointEvery: 10})
	events, checkpoints := untilCaughtUp(t, c)
	require.Empty(t, events)
	require.Equal(t, []uint64{all[9].Position, all[19].Position, all[24].Position}, checkpoints,
		"one for every ten considered events and one before going live")

	// Exactly at a boundary going live adds none: there is never a second one for a position.
	c = l.FollowAll(AllFollow{Filter: &Filter{StreamPrefixes: []string{"b-"}}, CheckpointEvery: 25})
	_, checkpoints = untilCaughtUp(t, c)
	require.Equal(t, []uint64{all[24].Position}, checkpoints)

	// Live, events that do not match still bring checkpoints.
	for i := range 25 {
		mustAppend(t, l, fmt.Sprintf("c-%d", i), NoStream, someEvents(1)...)
	}
	d, err := c.Next(within(t))
	require.NoError(t, err)
	require.Empty(t, d.Events)
	require.Equal(t, l.LastPosition(), d.Checkpoint)
	require.False(t, d.CaughtUp)
}

func TestFilter(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	mustAppend(t, l, "user-1", NoStream, event("user.created", "{}"), event("user.renamed", "{}"))
	mustAppend(t, l, "task-1", NoStream, event("task.created", "{}"), event("$system", "{}"))
	for name, tc := range map[string]struct {
		filter *Filter
		want   []string
	}{
		"none":             {nil, []string{"user.created", "user.renamed", "task.created", "$system"}},
		"stream prefix":    {&Filter{StreamPrefixes: []string{"x", "user-"}}, []string{"user.created", "user.renamed"}},
		"type prefix":      {&Filter{TypePrefixes: []string{"task.", "user.r"}}, []string{"user.renamed", "task.created"}},
		"type regex":       {&Filter{TypeRegex: regexp.MustCompile(`created`)}, []string{"user.created", "task.created"}},
		"stream regex":     {&Filter{StreamRegex: regexp.MustCompile(`^task`)}, []string{"task.created", "$system"}},
		"both parts":       {&Filter{StreamPrefixes: []string{"task-"}, ExcludeTypes: []string{"$"}}, []string{"task.created"}},
		"excluded streams": {&Filter{ExcludeStreams: []string{"task-"}}, []string{"user.created", "user.renamed"}},
	} {
		t.Run(name, func(t *testing.T) {
			types := func(events []*Event) (out []string) {
				for _, e := range events {
					out = append(out, e.Type)
				}
				return out
			}
			require.Equal(t, tc.want, types(collect(t, l.ReadAll(context.Background(), AllRead{Filter: tc.filter}))))
			live, _ := untilCaughtUp(t, l.FollowAll(AllFollow{Filter: tc.filter}))
			require.Equal(t, tc.want, types(live))
			one := collect(t, l.ReadAll(context.Background(), AllRead{Filter: tc.filter, Limit: 1, From: End, Backwards: true}))
			require.Equal(t, tc.want[len(tc.want)-1:], types(one))
		})
	}
}

func TestFollowStream(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	follow := func(after int64) *StreamCursor {
		c, err := l.FollowStream("a", after)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	missing := follow(-1)
	got, _ := untilCaughtUp(t, missing)
	require.Empty(t, got, "a stream that does not exist is caught up with at once")
	mustAppend(t, l, "a", NoStream, someEvents(1)...)
	mustAppend(t, l, "b", NoStream, someEvents(1)...)
	require.Equal(t, int64(0), next(t, missing).Revision)
	mustAppend(t, l, "a", 0, someEvents(2)...)

	got, _ = untilCaughtUp(t, follow(0))
	require.Equal(t, []int64{1, 2}, revisions(got))
	end := follow(FromEnd)
	got, _ = untilCaughtUp(t, end)
	require.Empty(t, got)

	// Metadata hides events from the catch-up, not from who is live.
	mustAppend(t, l, "$$a", Any, event(TypeMetadata, `{"$maxCount":1}`))
	got, _ = untilCaughtUp(t, follow(-1))
	require.Equal(t, []int64{2}, revisions(got))
	mustAppend(t, l, "a", 2, someEvents(2)...)
	d, err := end.Next(within(t))
	require.NoError(t, err)
	require.Equal(t, []int64{3, 4}, revisions(d.Events))

	// Soft-deleted and written again it goes on.
	_, err = l.SoftDelete(within(t), "a", Any)
	require.NoError(t, err)
	again := follow(-1)
	got, _ = untilCaughtUp(t, again)
	require.Empty(t, got)
	mustAppend(t, l, "a", NoStream, someEvents(1)...)
	require.Equal(t, int64(5), next(t, again).Revision)
	require.Equal(t, int64(5), next(t, end).Revision)

	_, err = l.Tombstone(within(t), "a", Any)
	require.NoError(t, err)
	var deleted *StreamDeletedError
	_, err = again.Next(within(t))
	require.ErrorAs(t, err, &deleted)
	_, err = l.FollowStream("a", FromEnd)
	require.ErrorAs(t, err, &deleted)
	_, err = follow(-1).Next(within(t))
	require.ErrorAs(t, err, &deleted)
}

// TestFollowersSeeEverythingOnce runs writers and followers against each other: every follower, wherever it starts and
// however slow it is, sees the same events in the same order, without gap or duplicate.
func TestFollowersSeeEverythingOnce(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	const writers, each = 8, 400
	mustAppend(t, l, "s-0", Any, someEvents(10)...)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < each; i++ {
				if _, err := l.Append(context.Background(), fmt.Sprintf("s-%d", w%4), Any, someEvents(1+i%3)...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	total := 10
	for i := range each {
		total += writers * (1 + i%3)
	}
	seen := make([][]*Event, 4)
	for f := range seen {
		wg.Go(func() {
			c := l.FollowAll(AllFollow{})
			for len(seen[f]) < total {
				d, err := c.Next(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				seen[f] = append(seen[f], d.Events...)
			}
		})
	}
	byStream := make([][]*Event, 4)
	for f := range byStream {
		wg.Go(func() {
			want := 0
			for i := range each {
				want += 2 * (1 + i%3)
			}
			if f == 0 {
				want += 10
			}
			c, err := l.FollowStream(fmt.Sprintf("s-%d", f), -1)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for len(byStream[f]) < want {
				d, err := c.Next(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				byStream[f] = append(byStream[f], d.Events...)
			}
		})
	}
	wg.Wait()
	all := readAll(t, l)
	require.Len(t, all, total)
	for f := range seen {
		requireSame(t, all, seen[f])
	}
	for f := range byStream {
		requireSame(t, readStream(t, l, fmt.Sprintf("s-%d", f)), byStream[f])
	}
}

// requireSame compares by place and id: whole events would print megabytes.
func requireSame(t testing.TB, want, got []*Event) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Position, got[i].Position, "event %d", i)
		require.Equal(t, want[i].Revision, got[i].Revision, "event %d", i)
		require.Equal(t, want[i].ID, got[i].ID, "event %d", i)
	}
}

// TestSlowFollower leaves a cursor behind the ring of newest events: it goes on from the database, misses nothing and is
// told again when it has caught up.
func TestSlowFollower(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	slow := l.FollowAll(AllFollow{})
	untilCaughtUp(t, slow)
	slowStream, err := l.FollowStream("s-7", -1)
	require.NoError(t, err)
	defer slowStream.Close()
	untilCaughtUp(t, slowStream)
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < 2*ringEvents; {
		k := 1 + r.IntN(200)
		mustAppend(t, l, fmt.Sprintf("s-%d", r.IntN(10)), Any, someEvents(k)...)
		n += k
	}
	require.False(t, l.ring.reaches(0))
	got, _ := untilCaughtUp(t, slow)
	requireSame(t, readAll(t, l), got)
	got, _ = untilCaughtUp(t, slowStream)
	requireSame(t, readStream(t, l, "s-7"), got)
	mustAppend(t, l, "s-7", Any, someEvents(1)...)
	require.Equal(t, "s-7", next(t, slow).Stream)
	require.Equal(t, "s-7", next(t, slowStream).Stream)
}

func TestFollowEndsWithContextAndClose(t *testing.T) {
	l, err := Open("store", Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	c := l.FollowAll(AllFollow{})
	untilCaughtUp(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	waiting := make(chan error, 2)
	go func() { _, err := c.Next(ctx); waiting <- err }()
	cancel()
	require.ErrorIs(t, <-waiting, context.Canceled)
	stream, err := l.FollowStream("a", -1)
	require.NoError(t, err)
	defer stream.Close()
	untilCaughtUp(t, stream)
	go func() { _, err := c.Next(context.Background()); waiting <- err }()
	go func() { _, err := stream.Next(context.Background()); waiting <- err }()
	require.NoError(t, l.Close())
	require.ErrorIs(t, <-waiting, ErrClosed)
	require.ErrorIs(t, <-waiting, ErrClosed)
	<-l.Done()
	require.NoError(t, l.Err())
	_, err = l.Append(context.Background(), "a", Any, someEvents(1)...)
	require.ErrorIs(t, err, ErrClosed)
	_, err = tryCollect(l.ReadAll(context.Background(), AllRead{}))
	require.ErrorIs(t, err, ErrClosed)
}

// TestNoLostWakeUp plays ping-pong: a follower that missed the wake-up for one event would wait for ever, as the writer
// waits for it.
func TestNoLostWakeUp(t *testing.T) {
	l := openTest(t, vfs.NewMem())
	stream, err := l.FollowStream("a", -1)
	require.NoError(t, err)
	defer stream.Close()
	all := l.FollowAll(AllFollow{})
	untilCaughtUp(t, stream)
	untilCaughtUp(t, all)
	const rounds = 3000
	ctx := within(t)
	seen := make(chan int64, 2)
	for _, c := range []cursor{stream, all} {
		go func() {
			for range rounds {
				d, err := c.Next(ctx)
				if err != nil || len(d.Events) != 1 {
					t.Error(err, len(d.Events))
					seen <- -1
					return
				}
				seen <- d.Events[0].Revision
			}
		}()
	}
	for i := range rounds {
		mustAppend(t, l, "a", Any, someEvents(1)...)
		require.Equal(t, int64(i), <-seen)
		require.Equal(t, int64(i), <-seen)
	}
}

// TestRingIsBounded fills the ring with large events: it is bounded by their size, not only by their number.
func TestRingIsBounded(t *testing.T) {
	r := newRing(0)
	data := make([]byte, 1<<20)
	const n = 2 * ringBytes >> 20
	for i := range n {
		r.push([]*Event{{Position: uint64(10 * (i + 1)), Data: data}})
	}
	require.LessOrEqual(t, r.bytes, ringBytes)
	require.Less(t, r.n, n)
	require.False(t, r.reaches(10))
	first := r.at(0)
	require.Equal(t, first.Position-10, r.floor)
	require.Nil(t, r.get(first.Position-10))
	require.Equal(t, first, r.get(first.Position))
	got, ok := r.after(r.floor, 10*n, n, nil)
	require.True(t, ok)
	require.Len(t, got, r.n-1, "the end is not included")
}

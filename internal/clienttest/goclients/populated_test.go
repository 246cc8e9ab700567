package goclients_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"docket/eventstore/embedded/eventlog"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The publisher's database of 20 MB is not public, but its tests come with the events they expect, down to positions and
// times. A log restored from those, with filling where revisions are missing, shows order, positions and paging.
const (
	fillFrom = 3386       // no test wants to see exactly what lies
	fillTo   = 20_400_525 // between these positions
)

// place is one revision of a stream.
type place struct {
	stream   string
	revision int64
}

// expectedEvent is an event as the client's tests expect it.
type expectedEvent struct {
	Event struct {
		StreamID       string
		StreamRevision struct{ Value int64 }
		EventID        uuid.UUID
		EventType      string
		EventData      []byte
		UserMetadata   []byte
		ContentType    string
		Position       struct{ Commit uint64 }
		Created        struct{ Seconds, Nanos int64 }
	}
}

func readJSON(t *testing.T, into any, parts ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

// expectedEvents reads them from the module.
func expectedEvents(t *testing.T, module string) map[place]*eventlog.Event {
	t.Helper()
	dir := filepath.Join(module, "resources", "test")
	out := map[place]*eventlog.Event{}
	for _, name := range []string{"all-e0-e10", "all-c1788-p1788", "all-back-c3386-p3386", "all-back-e0-e10",
		"dataset20M-1800-e0-e10", "dataset20M-1800-e1999-e1990"} {
		var events []expectedEvent
		readJSON(t, &events, dir, name+".json")
		for _, x := range events {
			e := x.Event
			out[place{e.StreamID, e.StreamRevision.Value}] = &eventlog.Event{
				Position: e.Position.Commit, Revision: e.StreamRevision.Value, Stream: e.StreamID, Type: e.EventType, ID: e.EventID,
				Created: e.Created.Seconds*10_000_000 + e.Created.Nanos/100, JSON: e.ContentType == "application/json",
				Data: e.EventData, Metadata: e.UserMetadata,
			}
		}
	}
	var positions []struct{ Commit uint64 }
	var versions []int64
	readJSON(t, &positions, dir, "all-positions-filtered-stream-194-e0-e30.json")
	readJSON(t, &versions, dir, "all-versions-filtered-stream-194-e0-e30.json")
	stream := "dataset20M-0"
	for i, v := range versions {
		if i > 0 && v < versions[i-1] {
			stream = "dataset20M-1800"
		}
		out[place{stream, v}] = &eventlog.Event{Position: positions[i].Commit, Revision: v, Stream: stream, Type: "eventType-194", ID: uuid.New()}
	}
	out[place{"dataset20M-0", 5999}] = &eventlog.Event{Position: 11_000_000, Revision: 5999, Stream: "dataset20M-0", Type: "filling", ID: uuid.New()}
	return out
}

// populate makes the log in dir.
func populate(t *testing.T, module, dir string) {
	t.Helper()
	known := expectedEvents(t, module)
	events := slices.Collect(maps.Values(known))
	slices.SortFunc(events, func(a, b *eventlog.Event) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Revision, b.Revision))
	})
	used := map[uint64]bool{}
	for _, e := range events {
		used[e.Position] = true
	}
	before := &eventlog.Event{}
	var filling []*eventlog.Event
	for _, e := range events {
		if e.Stream != before.Stream {
			before = &eventlog.Event{Stream: e.Stream, Revision: -1}
		}
		filling = append(filling, fill(before, e, used)...)
		before = e
	}
	events = append(events, filling...)
	slices.SortFunc(events, func(a, b *eventlog.Event) int { return cmp.Compare(a.Position, b.Position) })
	created := int64(0)
	for _, e := range events {
		if e.Created == 0 {
			e.Created = created
		}
		created = e.Created
	}
	require.NoError(t, eventlog.Restore(dir, eventlog.Options{}, func(yield func(*eventlog.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}))
}

// fill makes the revisions between two events of a stream.
func fill(before, after *eventlog.Event, used map[uint64]bool) []*eventlog.Event {
	low, high := max(before.Position, fillFrom), min(after.Position, fillTo)
	var out []*eventlog.Event
	for r := before.Revision + 1; r < after.Revision; r++ {
		pos := low + (high-low)*uint64(r-before.Revision)/uint64(after.Revision-before.Revision)
		for used[pos] {
			pos++
		}
		used[pos] = true
		out = append(out, &eventlog.Event{Position: pos, Revision: r, Stream: after.Stream, Type: "filling", ID: uuid.New()})
	}
	return out
}

package embedded

import (
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// crashState is what the parent knows of an append.
type crashState int

const (
	inDoubt crashState = iota // sent, and not answered
	acknowledged
	refused
)

// crashAppend is one append that was ever sent.
type crashAppend struct {
	stream   string
	expected esdb.ExpectedRevision
	events   []esdb.EventData // dropped once it is settled
	ids      []uuid.UUID
	sum      uint32 // of all data
	state    crashState
	revision uint64 // of the last event, as answered or, in doubt, as found
	position uint64
	found    int // events met by the check under way
	written  int // events found by the last check
	foundSum uint32
}

// crashAnswer is what came back for an append.
type crashAnswer struct {
	revision, position    uint64
	wrongVersion, deleted bool
	lost                  error // no answer came
}

// crashEvent is one event as the server has it.
type crashEvent struct {
	stream   string
	revision uint64
	pos      uint64
}

// crashDeletion is an acknowledged deletion: the event the server wrote for it.
type crashDeletion struct {
	stream, typ string
	pos         uint64
}

// crashModel is what was sent and answered, over all restarts.
type crashModel struct {
	mu        sync.Mutex
	appends   []*crashAppend
	known     map[uuid.UUID]*crashAppend
	deletable map[string]bool // streams whose deletion was tried: the server writes events of its own there
	deletions []crashDeletion
	doubts    []*crashAppend

	// As of the last check.
	log  []crashEvent
	next map[string]uint64 // revision

	acknowledged, refused, foundWritten, foundMissing int
}

func newCrashModel() *crashModel {
	return &crashModel{known: map[uuid.UUID]*crashAppend{}, deletable: map[string]bool{}, next: map[string]uint64{}}
}

// sent notes an append before it is sent.
func (m *crashModel) sent(a *crashAppend) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range a.events {
		a.ids = append(a.ids, e.EventID)
		a.sum = crc32.Update(a.sum, crc32.IEEETable, e.Data)
		m.known[e.EventID] = a
	}
	m.appends = append(m.appends, a)
	m.doubts = append(m.doubts, a)
}

// settle notes the answer to an append. Of a repeated one the answer must agree with what the last check found.
func (m *crashModel) settle(a *crashAppend, answer crashAnswer, repeated bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := repeated && a.written > 0
	switch {
	case answer.lost != nil:
		return nil
	case there && answer.deleted:
		// It was written, and its stream was deleted after it.
	case there && answer.wrongVersion:
		return fmt.Errorf("a repeated append to %s is refused, although it is there at %d", a.stream, a.position)
	case there && (answer.revision != a.revision || answer.position != a.position):
		return fmt.Errorf("a repeated append to %s is answered with %d at %d, but is there as %d at %d",
			a.stream, answer.revision, answer.position, a.revision, a.position)
	case !answer.deleted && !answer.wrongVersion:
		a.revision, a.position = answer.revision, answer.position
		m.next[a.stream] = max(m.next[a.stream], a.revision+1)
	case strings.HasPrefix(a.stream, "own-"):
		return fmt.Errorf("an append to %s is refused, although nobody else writes there", a.stream)
	}
	switch {
	case repeated && there:
		m.foundWritten++
	case repeated:
		m.foundMissing++
	}
	if a.state = acknowledged; !there && (answer.deleted || answer.wrongVersion) {
		a.state = refused
		m.refused++
	} else {
		m.acknowledged++
	}
	a.events = nil
	return nil
}

// unsettled are the appends in doubt, in the order they were sent.
func (m *crashModel) unsettled() []*crashAppend {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune()
	return m.doubts
}

func (m *crashModel) prune() {
	var left []*crashAppend
	for _, a := range m.doubts {
		if a.state == inDoubt {
			left = append(left, a)
		}
	}
	m.doubts = left
}

// deleting notes that a stream is about to be deleted, deleted that it was.
func (m *crashModel) deleting(stream string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deletable[stream] = true
}

func (m *crashModel) deleted(d crashDeletion) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deletions = append(m.deletions, d)
}

// revisionOf is the next revision of a stream as of the last check.
func (m *crashModel) revisionOf(stream string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next[stream]
}

// check compares the whole log with what was sent and answered.
func (m *crashModel) check(found []*esdb.ResolvedEvent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.appends {
		a.found, a.foundSum = 0, 0
	}
	m.prune()
	m.log, m.next = make([]crashEvent, 0, len(found)), map[string]uint64{}
	types := make(map[uint64]string, len(found))
	ids := make(map[uuid.UUID]bool, len(found))
	for _, r := range found {
		e := r.OriginalEvent()
		if ids[e.EventID] {
			return fmt.Errorf("event %s is there twice", e.EventID)
		}
		ids[e.EventID] = true
		if err := m.event(e); err != nil {
			return err
		}
		types[e.Position.Commit] = e.StreamID + " " + e.EventType
	}
	for _, a := range m.appends {
		if err := a.complete(); err != nil {
			return err
		}
	}
	for _, d := range m.deletions {
		if types[d.pos] != d.stream+" "+d.typ {
			return fmt.Errorf("the acknowledged deletion of %s is not at %d", d.stream, d.pos)
		}
	}
	return nil
}

// event checks one event in the order of the log.
func (m *crashModel) event(e *esdb.RecordedEvent) error {
	pos := e.Position.Commit
	if n := len(m.log); n > 0 && m.log[n-1].pos >= pos {
		return fmt.Errorf("position %d comes after %d", pos, m.log[n-1].pos)
	}
	tombstone := e.EventType == "$streamDeleted" && e.EventNumber == math.MaxInt64
	if e.EventNumber != m.next[e.StreamID] && !tombstone {
		return fmt.Errorf("stream %s goes on with revision %d instead of %d", e.StreamID, e.EventNumber, m.next[e.StreamID])
	}
	m.next[e.StreamID] = e.EventNumber + 1
	m.log = append(m.log, crashEvent{stream: e.StreamID, revision: e.EventNumber, pos: pos})
	a := m.known[e.EventID]
	if a == nil {
		ofServer := m.deletable[strings.TrimPrefix(e.StreamID, "$$")] && (tombstone || e.EventType == "$metadata")
		if !ofServer {
			return fmt.Errorf("event %s in %s at %d was never sent", e.EventID, e.StreamID, pos)
		}
		return nil
	}
	return a.event(e)
}

// event takes one event of the append.
func (a *crashAppend) event(e *esdb.RecordedEvent) error {
	switch last := a.found == len(a.ids)-1; {
	case a.state == refused:
		return fmt.Errorf("an append to %s was refused, but is there at %d", a.stream, e.Position.Commit)
	case e.StreamID != a.stream || e.EventID != a.ids[a.found]:
		return fmt.Errorf("event %s is not where it was sent: %s/%d", e.EventID, e.StreamID, e.EventNumber)
	case a.state == acknowledged && e.EventNumber+uint64(len(a.ids)-1-a.found) != a.revision:
		return fmt.Errorf("event %s in %s has revision %d, the answer said %d for the last of its append", e.EventID, a.stream, e.EventNumber, a.revision)
	case a.state == acknowledged && last && e.Position.Commit != a.position:
		return fmt.Errorf("an append to %s is at %d, the answer said %d", a.stream, e.Position.Commit, a.position)
	case a.state == inDoubt && last:
		a.revision, a.position = e.EventNumber, e.Position.Commit
	}
	a.foundSum = crc32.Update(a.foundSum, crc32.IEEETable, e.Data)
	a.found++
	return nil
}

// complete checks that the append is there as a whole, or, unless it was acknowledged, not at all.
func (a *crashAppend) complete() error {
	a.written = a.found
	switch {
	case a.found == 0 && a.state != acknowledged:
		return nil
	case a.found < len(a.ids):
		return fmt.Errorf("of an append of %d events to %s only %d are there (acknowledged: %t)", len(a.ids), a.stream, a.found, a.state == acknowledged)
	case a.foundSum != a.sum:
		return fmt.Errorf("an append to %s is there with other data", a.stream)
	}
	return nil
}

// TestCrashModel alters a log in every way a crash could: the model notices each.
func TestCrashModel(t *testing.T) {
	for name, alter := range map[string]func([]*esdb.ResolvedEvent) []*esdb.ResolvedEvent{
		"lost end":    func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent { return log[:5] },
		"lost append": func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent { return slices.Delete(log, 2, 4) },
		"twice":       func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent { return append(log, log[1]) },
		"other order": func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent { log[0], log[1] = log[1], log[0]; return log },
		"other position": func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent {
			log[1].Event.Position.Commit++
			return log
		},
		"other revision": func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent {
			log[5].Event.EventNumber++
			return log
		},
		"other data": func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent {
			log[3].Event.Data = []byte("x")
			return log
		},
		"never sent": func(log []*esdb.ResolvedEvent) []*esdb.ResolvedEvent {
			return append(log, recorded("a", 6, 700, uuid.New()))
		},
	} {
		m := newCrashModel()
		var log []*esdb.ResolvedEvent
		for i := range uint64(3) {
			a := &crashAppend{stream: "a", expected: esdb.Any{}, events: events(2)}
			m.sent(a)
			log = append(log, recorded("a", 2*i, 200*i+100, a.ids[0]), recorded("a", 2*i+1, 200*i+200, a.ids[1]))
			require.NoError(t, m.settle(a, crashAnswer{revision: 2*i + 1, position: 200*i + 200}, false))
		}
		doubt := &crashAppend{stream: "doubt", expected: esdb.Any{}, events: events(2)}
		m.sent(doubt)
		require.NoError(t, m.check(log))
		half := append(slices.Clone(log), recorded("doubt", 0, 700, doubt.ids[0]))
		require.Error(t, m.check(half), "half an append")
		require.NoError(t, m.check(append(half, recorded("doubt", 1, 800, doubt.ids[1]))))
		require.Error(t, m.settle(doubt, crashAnswer{revision: 3, position: 900}, true), "written again")
		require.Error(t, m.check(alter(log)), name)
	}
}

// recorded is an event as the server would give it, with the data that events makes.
func recorded(stream string, revision, pos uint64, id uuid.UUID) *esdb.ResolvedEvent {
	return &esdb.ResolvedEvent{Event: &esdb.RecordedEvent{EventID: id, EventType: "happened", StreamID: stream, EventNumber: revision,
		Position: esdb.Position{Commit: pos, Prepare: pos}, Data: events(1)[0].Data}}
}

package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"iter"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

// Comparison is what two logs have in common.
type Comparison struct {
	Events uint64 // in both, in the same order, tombstones included
	// Hash is the SHA-256 over all of them, hexadecimal: of stream, revision, id, type, kind of content, data and metadata.
	Hash string
	// Later is how many events the source holds behind the target's newest: written since, or not copied yet.
	Later uint64
}

// DifferenceError names the first place where the target is not what the source is.
type DifferenceError struct{ Text string }

func (e *DifferenceError) Error() string { return "the copy differs: " + e.Text }

// Compare reads both logs whole and compares them event by event, in order, up to the target's newest event, and the
// metadata of all streams. It returns a *DifferenceError when the target holds anything else than the source.
func Compare(ctx context.Context, source, target *client.Client, progress Progress) (Comparison, error) {
	end, err := endOf(ctx, source)
	if err != nil {
		return Comparison{}, fmt.Errorf("reading the end of the source: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a, b := newReader(ctx, source), newReader(ctx, target)
	defer a.stop()
	defer b.stop()
	var c Comparison
	sumA, sumB := newSum(), newSum()
	for {
		theirs, err := b.next()
		if err != nil {
			return c, fmt.Errorf("reading the target: %w", err)
		}
		if theirs == nil {
			break
		}
		ours, err := a.next()
		if err != nil {
			return c, fmt.Errorf("reading the source: %w", err)
		}
		if ours == nil {
			return c, &DifferenceError{fmt.Sprintf("the target has %s, which the source has not", name(theirs))}
		}
		if sumA.add(ours); sumA.last != sumB.add(theirs) {
			return c, &DifferenceError{fmt.Sprintf("event number %d is %s in the source and %s in the target", c.Events, name(ours), name(theirs))}
		}
		if c.Events++; progress != nil {
			progress(ours.Position.Commit, max(end, ours.Position.Commit), c.Events)
		}
	}
	c.Hash = hex.EncodeToString(sumA.all.Sum(nil))
	if other := hex.EncodeToString(sumB.all.Sum(nil)); other != c.Hash {
		return c, &DifferenceError{fmt.Sprintf("the hash over %d events is %s in the source and %s in the target", c.Events, c.Hash, other)}
	}
	if c.Later, err = a.rest(); err != nil {
		return c, fmt.Errorf("reading the source: %w", err)
	}
	return c, sameMetadata(a, b, c.Later > 0)
}

func name(r *client.RecordedEvent) string {
	return fmt.Sprintf("revision %d of stream %q (%s)", r.EventNumber, r.StreamID, r.EventType)
}

// sameMetadata compares what streams' metadata came to. While the source is still written to it may be ahead.
func sameMetadata(a, b *reader, behind bool) error {
	for stream, data := range b.metadata {
		if ours, there := a.metadata[stream]; !there || !behind && !sameJSON(ours, data) {
			return &DifferenceError{fmt.Sprintf("the metadata in stream %q", stream)}
		}
	}
	for stream := range a.metadata {
		if _, there := b.metadata[stream]; !there && !behind {
			return &DifferenceError{fmt.Sprintf("the target lacks the metadata in stream %q", stream)}
		}
	}
	return nil
}

// reader yields the events that are compared and keeps metadata aside.
type reader struct {
	pull     func() (*client.RecordedEvent, error, bool)
	stop     func()
	metadata map[string][]byte
}

func newReader(ctx context.Context, c *client.Client) *reader {
	pull, stop := iter.Pull2(ahead(ctx, records(ctx, c, 0)))
	return &reader{pull: pull, stop: stop, metadata: make(map[string][]byte)}
}

// next is the next event, nil at the end.
func (r *reader) next() (*client.RecordedEvent, error) {
	for {
		e, err, ok := r.pull()
		if !ok || err != nil {
			return nil, err
		}
		if !isMetadata(e) {
			return e, nil
		}
		r.metadata[e.StreamID] = e.Data
	}
}

func (r *reader) rest() (n uint64, err error) {
	for {
		e, err := r.next()
		if e == nil {
			return n, err
		}
		n++
	}
}

// ahead reads on while what was read is worked on.
func ahead(ctx context.Context, in iter.Seq2[*client.RecordedEvent, error]) iter.Seq2[*client.RecordedEvent, error] {
	type read struct {
		event *client.RecordedEvent
		err   error
	}
	return func(yield func(*client.RecordedEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		out := make(chan read, 256)
		go func() {
			defer close(out)
			for e, err := range in {
				select {
				case out <- read{e, err}:
				case <-ctx.Done():
					return
				}
			}
		}()
		defer func() {
			cancel()
			for range out { // until the goroutine has ended
			}
		}()
		for r := range out {
			if !yield(r.event, r.err) {
				return
			}
		}
	}
}

// sum is a running hash over events.
type sum struct {
	all, each hash.Hash
	last      [sha256.Size]byte // of the newest event alone
}

func newSum() *sum { return &sum{all: sha256.New(), each: sha256.New()} }

// add takes an event in and returns its own hash. Servers give tombstones an id of their own.
func (s *sum) add(r *client.RecordedEvent) [sha256.Size]byte {
	s.each.Reset()
	if isTombstone(r) {
		s.fields([]byte(r.StreamID), []byte(tombstoneType))
	} else {
		var revision [8]byte
		binary.BigEndian.PutUint64(revision[:], r.EventNumber)
		s.fields([]byte(r.StreamID), revision[:], r.EventID[:], []byte(r.EventType), []byte(r.ContentType), r.Data, r.UserMetadata)
	}
	s.each.Sum(s.last[:0])
	s.all.Write(s.last[:])
	return s.last
}

// fields writes fields with their lengths, so that none can pass for a part of another.
func (s *sum) fields(fields ...[]byte) {
	var size [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(size[:], uint64(len(f)))
		s.each.Write(size[:])
		s.each.Write(f)
	}
}

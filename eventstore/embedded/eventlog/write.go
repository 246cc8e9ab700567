package eventlog

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Kind is what a Write does.
type Kind uint8

// The kinds of writes.
const (
	KindAppend     Kind = iota // append Events
	KindSoftDelete             // hide the stream's events; it may be written again
	KindTombstone              // end the stream for ever
)

// Limits of names, in bytes.
const (
	MaxStreamName = 4096
	MaxEventType  = 4096
)

// WriteResult is where a write, or the earlier one it repeats, ended. An append without events has no position and the
// stream's current revision, -1 when there is none.
type WriteResult struct {
	Revision int64  // of the last event written to the stream
	Position uint64 // of the last event written; 0 when nothing was written
}

// Write is one request to the sequencer. Kind, Stream, Expected, Events and Tag are the caller's; Result and Err are
// valid once the Write has come back.
type Write struct {
	Kind     Kind
	Stream   string
	Expected Expected
	Events   []EventData
	Tag      any // the log never looks at it

	Result WriteResult
	Err    error

	ctx   context.Context
	reply chan<- *Write
	size  int64
}

// Append adds events to a stream and returns when they are durable. After an error other than the typed rejections the
// outcome is unknown: repeat the call with the same event ids and the same expectation, which writes at most once.
func (l *Log) Append(ctx context.Context, stream string, expected Expected, events ...EventData) (WriteResult, error) {
	return l.Do(ctx, &Write{Kind: KindAppend, Stream: stream, Expected: expected, Events: events})
}

// SoftDelete hides the events of a stream. The next append goes on at the next revision.
func (l *Log) SoftDelete(ctx context.Context, stream string, expected Expected) (WriteResult, error) {
	return l.Do(ctx, &Write{Kind: KindSoftDelete, Stream: stream, Expected: expected})
}

// Tombstone ends a stream for ever.
func (l *Log) Tombstone(ctx context.Context, stream string, expected Expected) (WriteResult, error) {
	return l.Do(ctx, &Write{Kind: KindTombstone, Stream: stream, Expected: expected})
}

// Do submits w and waits for it. When ctx ends first the outcome is unknown and w must not be used again.
func (l *Log) Do(ctx context.Context, w *Write) (WriteResult, error) {
	reply := l.replies.Get().(chan *Write)
	if err := l.Submit(ctx, w, reply); err != nil {
		l.replies.Put(reply)
		return WriteResult{}, err
	}
	select {
	case <-reply:
		l.replies.Put(reply)
		return w.Result, w.Err
	case <-ctx.Done():
		return WriteResult{}, ctx.Err() // the sequencer still owns w and reply
	}
}

// Submit hands w to the sequencer, which sends it to reply once it is decided and durable. The reply channel must have
// room for every write that may come back on it: the sequencer waits for nobody. Submit blocks while the queue is full.
func (l *Log) Submit(ctx context.Context, w *Write, reply chan<- *Write) error {
	size, err := l.validate(w)
	if err != nil {
		return err
	}
	if err := l.enter(); err != nil {
		return err
	}
	defer l.leave()
	w.ctx, w.reply, w.size = ctx, reply, int64(size)
	if err := l.queued.Acquire(ctx, w.size); err != nil {
		return err
	}
	select {
	case l.queue <- w:
		return nil
	case <-ctx.Done():
		l.queued.Release(w.size)
		return ctx.Err()
	}
}

// validate checks what needs no knowledge of the log and returns about how many bytes the write holds, at most as many
// as the queue takes: a write of very many small events waits for an empty queue.
func (l *Log) validate(w *Write) (int, error) {
	if err := ValidateStreamName(w.Stream); err != nil {
		return 0, err
	}
	if w.Expected < 0 && w.Expected != Any && w.Expected != NoStream && w.Expected != StreamExists {
		return 0, &InvalidError{fmt.Sprintf("invalid expected revision %d", int64(w.Expected))}
	}
	size := 0
	for i := range w.Events {
		e := &w.Events[i]
		switch {
		case e.ID == uuid.Nil:
			return 0, &InvalidError{"empty event id"}
		case e.Type == "":
			return 0, &InvalidError{"empty event type"}
		case len(e.Type) > MaxEventType || !utf8.ValidString(e.Type):
			return 0, &InvalidError{"event type is too long or not UTF-8"}
		}
		size += e.size()
	}
	if size > l.opts.MaxAppendBytes {
		return 0, &AppendTooLargeError{Size: size, Max: l.opts.MaxAppendBytes}
	}
	return min(size+256*(len(w.Events)+1), queueBytes), nil
}

// ValidateStreamName says whether a stream of this name can exist.
func ValidateStreamName(name string) error {
	switch {
	case name == "":
		return &InvalidError{"empty stream name"}
	case name == metaPrefix:
		return &InvalidError{"invalid stream name $$"}
	case name == "$all":
		return &InvalidError{"$all is not a stream of its own"}
	case len(name) > MaxStreamName:
		return &InvalidError{fmt.Sprintf("stream name is longer than %d bytes", MaxStreamName)}
	case !utf8.ValidString(name):
		return &InvalidError{"stream name is not UTF-8"}
	case len(name) > 3 && name[:4] == metaPrefix+metaPrefix:
		return &InvalidError{"a metadata stream has no metadata"}
	}
	return nil
}

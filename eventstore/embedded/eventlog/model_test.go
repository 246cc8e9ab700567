package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// model is the simplest thing that behaves as the log should: every stream is a list, the log is a list.
type model struct {
	streams map[string][]modelEvent // metadata streams included
	dead    map[string]bool
	all     []modelEvent
	ids     map[uuid.UUID]modelEvent // where an id was written last
}

type modelEvent struct {
	stream string
	rev    int64
	id     uuid.UUID
	typ    string
	data   string
}

func newModel() *model {
	return &model{streams: map[string][]modelEvent{}, dead: map[string]bool{}, ids: map[uuid.UUID]modelEvent{}}
}

type modelMeta struct {
	MaxCount int64 `json:"$maxCount"`
	Truncate int64 `json:"$tb"`
}

func (m *model) meta(stream string) (out modelMeta) {
	if _, isMeta := splitMeta(stream); isMeta {
		return modelMeta{MaxCount: 1}
	}
	if ev := m.streams["$$"+stream]; len(ev) > 0 {
		if err := json.Unmarshal([]byte(ev[len(ev)-1].data), &out); err != nil {
			panic(err)
		}
	}
	return out
}

func (m *model) isDead(stream string) bool {
	base, _ := splitMeta(stream)
	return m.dead[base]
}

func (m *model) add(stream string, id uuid.UUID, typ, data string) modelEvent {
	e := modelEvent{stream: stream, rev: int64(len(m.streams[stream])), id: id, typ: typ, data: data}
	m.streams[stream] = append(m.streams[stream], e)
	m.all = append(m.all, e)
	m.ids[id] = e
	return e
}

type outcome int

const (
	written outcome = iota
	repeated
	wrongVersion
	streamDeleted
)

// check is the rule of expected revisions in the model's own words. at is the revision a repeated write ended at.
func (m *model) check(stream string, expected Expected, ids []uuid.UUID) (o outcome, at int64) {
	if m.isDead(stream) {
		return streamDeleted, 0
	}
	events := m.streams[stream]
	soft := m.meta(stream).Truncate == Tombstoned
	switch {
	case expected == StreamExists && soft:
		return streamDeleted, 0
	case expected == StreamExists && len(events) == 0 && len(m.streams["$$"+stream]) == 0:
		return wrongVersion, 0
	case expected == Any || expected == StreamExists:
		known := 0
		for _, id := range ids {
			if e, ok := m.ids[id]; !ok || e.stream != stream {
				break
			}
			known++
		}
		switch {
		case known == 0:
			return written, 0
		case known == len(ids):
			return repeated, m.ids[ids[len(ids)-1]].rev
		}
		return wrongVersion, 0
	case int64(expected) == int64(len(events))-1:
		return written, 0
	case int64(expected) > int64(len(events))-1:
		return wrongVersion, 0
	}
	next := events[expected+1:]
	same := 0
	for same < len(ids) && same < len(next) && next[same].id == ids[same] {
		same++
	}
	switch {
	case same == len(ids) && same > 0:
		return repeated, int64(expected) + int64(same)
	case same == 0 && len(ids) > 0 && expected == NoStream && soft:
		return written, 0
	}
	return wrongVersion, 0
}

func (m *model) append(stream string, expected Expected, events []EventData) (outcome, int64) {
	ids := make([]uuid.UUID, len(events))
	for i := range events {
		ids[i] = events[i].ID
	}
	o, at := m.check(stream, expected, ids)
	if o != written {
		return o, at
	}
	base, isMeta := splitMeta(stream)
	resume := int64(len(m.streams[base]))
	soft := m.meta(base).Truncate == Tombstoned
	at = int64(len(m.streams[stream])) - 1
	for _, e := range events {
		at = m.add(stream, e.ID, e.Type, string(e.Data)).rev
	}
	if soft && len(events) > 0 {
		meta := map[string]any{}
		if isMeta {
			if err := json.Unmarshal(events[len(events)-1].Data, &meta); err != nil {
				panic(err)
			}
		}
		meta["$tb"] = resume
		data, err := json.Marshal(meta)
		if err != nil {
			panic(err)
		}
		m.add("$$"+base, uuid.New(), TypeMetadata, string(data))
	}
	return written, at
}

// visible are the events a read of the stream sees; found is false when the stream is not there.
func (m *model) visible(stream string) (out []modelEvent, found bool) {
	meta := m.meta(stream)
	events := m.streams[stream]
	if len(events) == 0 || meta.Truncate == Tombstoned {
		return nil, false
	}
	low := meta.Truncate
	if meta.MaxCount > 0 {
		low = max(low, int64(len(events))-meta.MaxCount)
	}
	if low >= int64(len(events)) {
		return nil, true
	}
	return events[low:], true
}

// system drives a log and the model through the same steps.
type system struct {
	log   *Log
	fs    *vfs.MemFS
	model *model
	used  []uuid.UUID
}

var (
	genStream   = rapid.SampledFrom([]string{"a", "b", "c", "$$a", "$$b"})
	genPlain    = rapid.SampledFrom([]string{"a", "b", "c"})
	genExpected = rapid.SampledFrom([]Expected{Any, NoStream, StreamExists, 0, 1, 2, 3, 5})
)

func (s *system) expected(t *rapid.T, stream string) Expected {
	if rapid.Bool().Draw(t, "at end") {
		return Expected(len(s.model.streams[stream]) - 1)
	}
	return genExpected.Draw(t, "expected")
}

func (s *system) events(t *rapid.T, stream string) []EventData {
	out := make([]EventData, rapid.IntRange(0, 3).Draw(t, "count"))
	reuse := rapid.IntRange(0, 3).Draw(t, "reuse") == 0
	history := s.model.streams[stream]
	start := rapid.IntRange(0, len(history)).Draw(t, "start")
	for i := range out {
		data := fmt.Sprintf(`{"n":%d}`, len(s.model.all)+i)
		if _, isMeta := splitMeta(stream); isMeta {
			data = rapid.SampledFrom([]string{`{}`, `{"$maxCount":2}`, `{"$tb":1}`, `{"$tb":2,"x":"y"}`,
				`{"$maxCount":3,"$tb":1}`}).Draw(t, "metadata")
		}
		out[i] = event("happened", data)
		// A retry repeats consecutive events; anything else happens too.
		if reuse && start+i < len(history) && history[start+i].typ == "happened" {
			out[i].ID = history[start+i].id
		} else if len(s.used) > 0 && rapid.IntRange(0, 20).Draw(t, "old id") == 0 {
			out[i].ID = rapid.SampledFrom(s.used).Draw(t, "id")
		}
	}
	return out
}

func (s *system) compare(t *rapid.T, o outcome, at int64, res WriteResult, err error) {
	var wrong *WrongExpectedVersionError
	var deleted *StreamDeletedError
	switch o {
	case written, repeated:
		if err != nil {
			t.Fatalf("want revision %d, got %v", at, err)
		}
		if res.Revision != at {
			t.Fatalf("want revision %d, got %d", at, res.Revision)
		}
	case wrongVersion:
		if !errors.As(err, &wrong) {
			t.Fatalf("want wrong expected version, got %v, %v", res, err)
		}
	case streamDeleted:
		if !errors.As(err, &deleted) {
			t.Fatalf("want stream deleted, got %v, %v", res, err)
		}
	}
}

func (s *system) append(t *rapid.T) {
	stream := genStream.Draw(t, "stream")
	expected, events := s.expected(t, stream), s.events(t, stream)
	o, at := s.model.append(stream, expected, events)
	res, err := s.log.Append(context.Background(), stream, expected, events...)
	s.compare(t, o, at, res, err)
	for _, e := range events {
		s.used = append(s.used, e.ID)
	}
}

// burst submits several appends at once, so that they are decided in the same group, before any of them is written.
func (s *system) burst(t *rapid.T) {
	type want struct {
		o  outcome
		at int64
	}
	n := rapid.IntRange(2, 8).Draw(t, "appends")
	reply := make(chan *Write, n)
	wants := make([]want, n)
	var last *Write
	for i := range n {
		stream := genStream.Draw(t, "stream")
		w := &Write{Stream: stream, Expected: s.expected(t, stream), Events: s.events(t, stream), Tag: i}
		if last != nil && rapid.Bool().Draw(t, "retry") {
			w = &Write{Stream: last.Stream, Expected: last.Expected, Events: last.Events, Tag: i}
		}
		last = w
		wants[i].o, wants[i].at = s.model.append(w.Stream, w.Expected, w.Events)
		if err := s.log.Submit(context.Background(), w, reply); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		w := <-reply
		if w.Tag != i {
			t.Fatalf("answer %v came in place of %d", w.Tag, i)
		}
		s.compare(t, wants[i].o, wants[i].at, w.Result, w.Err)
	}
}

func (s *system) softDelete(t *rapid.T) {
	stream := genPlain.Draw(t, "stream")
	expected := s.expected(t, stream)
	o, _ := s.model.check(stream, expected, []uuid.UUID{uuid.New()})
	if o == written && len(s.model.streams[stream])+len(s.model.streams["$$"+stream]) == 0 {
		o = wrongVersion
	}
	at := int64(len(s.model.streams[stream])) - 1
	if o == written {
		s.model.add("$$"+stream, uuid.New(), TypeMetadata, `{"$tb":9223372036854775807}`)
	}
	res, err := s.log.SoftDelete(context.Background(), stream, expected)
	s.compare(t, o, at, res, err)
}

func (s *system) tombstone(t *rapid.T) {
	if rapid.IntRange(0, 5).Draw(t, "rarely") != 0 {
		t.Skip("tombstones end the fun")
	}
	stream := genPlain.Draw(t, "stream")
	expected := s.expected(t, stream)
	o, _ := s.model.check(stream, expected, []uuid.UUID{uuid.New()})
	if o == written {
		s.model.dead[stream] = true
		s.model.all = append(s.model.all, modelEvent{stream: stream, rev: Tombstoned, typ: TypeStreamDeleted})
	}
	res, err := s.log.Tombstone(context.Background(), stream, expected)
	s.compare(t, o, Tombstoned, res, err)
}

func (s *system) reopen(t *rapid.T) {
	if err := s.log.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(t)
}

func (s *system) open(t *rapid.T) {
	var err error
	if s.log, err = Open("store", Options{FS: s.fs}); err != nil {
		t.Fatal(err)
	}
}

// agree compares everything that can be read.
func (s *system) agree(t *rapid.T) {
	for _, stream := range []string{"a", "b", "c", "$$a", "$$b", "$$c"} {
		s.agreeOn(t, stream)
	}
	all, err := tryCollect(s.log.ReadAll(context.Background(), AllRead{}))
	if err != nil {
		t.Fatal(err)
	}
	s.same(t, "$all", s.model.all, all)
	back, err := tryCollect(s.log.ReadAll(context.Background(), AllRead{From: End, Backwards: true}))
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(back)
	s.same(t, "$all backwards", s.model.all, back)
	if n := s.log.Stats().Events; n != uint64(len(s.model.all)) {
		t.Fatalf("want %d events in all, got %d", len(s.model.all), n)
	}
}

func (s *system) agreeOn(t *rapid.T, stream string) {
	ctx := context.Background()
	got, err := tryCollect(s.log.ReadStream(ctx, stream, StreamRead{}))
	var missing *StreamNotFoundError
	var deleted *StreamDeletedError
	want, found := s.model.visible(stream)
	switch {
	case s.model.isDead(stream):
		if !errors.As(err, &deleted) {
			t.Fatalf("%s: want stream deleted, got %v", stream, err)
		}
		return
	case !found:
		if !errors.As(err, &missing) {
			t.Fatalf("%s: want stream not found, got %v", stream, err)
		}
		return
	case err != nil:
		t.Fatal(err)
	}
	s.same(t, stream, want, got)
	from := rapid.Int64Range(0, int64(len(s.model.streams[stream]))).Draw(t, "from")
	limit := rapid.Uint64Range(1, 4).Draw(t, "limit")
	part, err := tryCollect(s.log.ReadStream(ctx, stream, StreamRead{From: from, Backwards: true, Limit: limit}))
	if err != nil {
		t.Fatal(err)
	}
	var back []modelEvent
	for i := len(want) - 1; i >= 0 && uint64(len(back)) < limit; i-- {
		if want[i].rev <= from {
			back = append(back, want[i])
		}
	}
	s.same(t, stream+" backwards", back, part)
}

func (s *system) same(t *rapid.T, what string, want []modelEvent, got []*Event) {
	if len(want) != len(got) {
		t.Fatalf("%s: want %d events, got %d", what, len(want), len(got))
	}
	for i, w := range want {
		g := got[i]
		if w.stream != g.Stream || w.rev != g.Revision || w.typ != g.Type {
			t.Fatalf("%s: event %d: want %v, got %s %d %s", what, i, w, g.Stream, g.Revision, g.Type)
		}
		if w.typ == "happened" && (w.id != g.ID || w.data != string(g.Data)) {
			t.Fatalf("%s: event %d: want %v, got id %s data %s", what, i, w, g.ID, g.Data)
		}
	}
}

func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &system{fs: vfs.NewMem(), model: newModel()}
		s.open(t)
		defer func() {
			if err := s.log.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		t.Repeat(map[string]func(*rapid.T){
			"append": s.append, "append again": s.append, "burst": s.burst,
			"soft delete": s.softDelete, "tombstone": s.tombstone, "reopen": s.reopen, "": s.agree,
		})
	})
}

package eventlog

// decide applies EventStoreDB's rules to one write, given everything decided before it, and adds its events to the group.
func (l *Log) decide(g *group, w *Write) (WriteResult, error) {
	base, isMeta := splitMeta(w.Stream)
	st, err := l.groupState(g, base)
	if err != nil {
		return WriteResult{}, err
	}
	if st.tombstoned() {
		return WriteResult{}, &StreamDeletedError{Stream: w.Stream}
	}
	v := verdict{log: l, g: g, w: w, st: &st, isMeta: isMeta, no: st.no, current: st.last}
	if isMeta {
		v.no, v.current = st.metaNo, st.metaLast
	}
	switch w.Kind {
	case KindAppend:
		return v.append(base)
	case KindSoftDelete:
		return v.softDelete(base)
	case KindTombstone:
		return v.tombstone(base)
	}
	return WriteResult{}, &InvalidError{"unknown kind of write"}
}

// verdict is one write under decision.
type verdict struct {
	log     *Log
	g       *group
	w       *Write
	st      *streamState // of the base stream
	isMeta  bool
	no      uint64 // number of the stream written to
	current int64  // its last revision
}

func (v *verdict) softDeleted() bool { return !v.isMeta && v.st.meta.softDeleted() }

func (v *verdict) wrongVersion() error {
	return &WrongExpectedVersionError{Stream: v.w.Stream, Expected: v.w.Expected, Current: v.current}
}

func (v *verdict) append(base string) (WriteResult, error) {
	repeat, err := v.check(v.w.Events)
	if err != nil {
		return WriteResult{}, err
	}
	if repeat != nil {
		return *repeat, nil
	}
	if len(v.w.Events) == 0 {
		return WriteResult{Revision: v.current}, nil
	}
	// Writing to a soft-deleted stream, or to its metadata, brings it back: from then on it starts behind what was deleted.
	undelete := v.st.meta.softDeleted()
	resumeAt := v.st.last + 1
	raw := v.w.Events[len(v.w.Events)-1].Data
	if undelete && !v.isMeta {
		if raw, err = v.rawMetadata(); err != nil {
			return WriteResult{}, err
		}
	}
	if undelete {
		if raw, err = undeletedMetadata(raw, resumeAt); err != nil {
			return WriteResult{}, err
		}
	}
	res := v.log.write(v.g, v.w.Stream, v.st, v.current+1, v.w.Events)
	if undelete {
		v.writeMetadata(base, raw)
	}
	return res, nil
}

// rawMetadata is the stream's latest metadata as written.
func (v *verdict) rawMetadata() ([]byte, error) {
	e, err := v.log.eventOf(v.g, v.st.metaNo, v.st.metaLast)
	if err != nil || e == nil {
		return nil, err
	}
	return e.Data, nil
}

func (v *verdict) writeMetadata(base string, data []byte) WriteResult {
	e := []EventData{{ID: newID(), Type: TypeMetadata, JSON: true, Data: data, Metadata: []byte{}}}
	return v.log.write(v.g, MetadataStream(base), v.st, v.st.metaLast+1, e)
}

func (v *verdict) softDelete(base string) (WriteResult, error) {
	if v.isMeta {
		return WriteResult{}, &InvalidError{"a metadata stream cannot be deleted"}
	}
	if _, err := v.check([]EventData{{ID: newID()}}); err != nil {
		return WriteResult{}, err
	}
	if v.current < 0 && v.st.metaLast < 0 {
		return WriteResult{}, v.wrongVersion()
	}
	res := v.writeMetadata(base, softDeleteMetadata)
	res.Revision = v.current
	return res, nil
}

func (v *verdict) tombstone(base string) (WriteResult, error) {
	if v.isMeta {
		return WriteResult{}, &InvalidError{"a metadata stream cannot be tombstoned"}
	}
	id := newID()
	if _, err := v.check([]EventData{{ID: id}}); err != nil {
		return WriteResult{}, err
	}
	e := []EventData{{ID: id, Type: TypeStreamDeleted, Data: []byte{}, Metadata: []byte{}}}
	return v.log.write(v.g, base, v.st, Tombstoned, e), nil
}

// check says whether the events may be written: it returns nil, nil when they may, the earlier result when they repeat
// what was written, and an error otherwise.
func (v *verdict) check(events []EventData) (*WriteResult, error) {
	repeat, err := v.expect(events)
	if full := v.log.full.Load(); err == nil && repeat == nil && len(events) > 0 && full != nil {
		return nil, full
	}
	return repeat, err
}

// expect compares the expected revision with the stream.
func (v *verdict) expect(events []EventData) (*WriteResult, error) {
	switch expected := v.w.Expected; {
	case expected == StreamExists && v.softDeleted():
		return nil, &StreamDeletedError{Stream: v.w.Stream}
	case expected == StreamExists && v.current < 0 && (v.isMeta || v.st.metaLast < 0):
		return nil, v.wrongVersion()
	case expected == Any || expected == StreamExists:
		return v.repeatsRecent(events)
	case int64(expected) < v.current:
		return v.repeatsAt(events, int64(expected)+1)
	case int64(expected) > v.current:
		return nil, v.wrongVersion()
	}
	return nil, nil
}

// repeatsRecent recognises a repeated write without an exact expectation by the ids of recent events: all known in this
// stream is a repeat, none known a new write, anything between a conflict.
func (v *verdict) repeatsRecent(events []EventData) (*WriteResult, error) {
	var res WriteResult
	stream := v.log.hash(v.w.Stream)
	for i := range events {
		p, ok := v.log.ids.get(events[i].ID)
		if !ok || p.stream != stream {
			if i == 0 {
				return nil, nil
			}
			return nil, v.wrongVersion()
		}
		res = WriteResult{Revision: p.rev, Position: p.pos}
	}
	if len(events) == 0 {
		return nil, nil
	}
	return &res, nil
}

// repeatsAt recognises a repeated write with an exact expectation by the events that stand where it would have written.
func (v *verdict) repeatsAt(events []EventData, rev int64) (*WriteResult, error) {
	var res *WriteResult
	for i := range events {
		e, err := v.log.eventOf(v.g, v.no, rev+int64(i))
		if err != nil {
			return nil, err
		}
		if e == nil || e.ID != events[i].ID {
			if i == 0 && v.w.Expected == NoStream && v.softDeleted() {
				return nil, nil
			}
			return nil, v.wrongVersion()
		}
		res = &WriteResult{Revision: e.Revision, Position: e.Position}
	}
	if res == nil {
		return nil, v.wrongVersion()
	}
	return res, nil
}

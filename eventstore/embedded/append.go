package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
)

// streamsServer is the Streams service.
type streamsServer struct {
	streams.UnimplementedStreamsServer
	server *Server
	log    *eventlog.Log
}

// draft collects an append from its messages. The first problem is kept and the rest of the messages only drained: a
// client that is cut off while it sends sees the end of the stream instead of the reason.
type draft struct {
	write   eventlog.Write
	size    int
	problem *problem
}

func (d *draft) reject(p *problem) {
	if d.problem == nil {
		d.problem = p
		d.write.Events = nil
	}
}

// target sets the stream and the expected revision.
func (d *draft) target(id *shared.StreamIdentifier, expected eventlog.Expected, ok bool) {
	d.write.Stream, d.write.Expected = string(id.GetStreamName()), expected
	if !ok {
		d.reject(invalid("an expected stream revision is required"))
	}
}

// proposed is what the event messages of both append calls offer.
type proposed interface {
	GetId() *shared.UUID
	GetMetadata() map[string]string
	GetCustomMetadata() []byte
	GetData() []byte
}

func (d *draft) add(m proposed) {
	if d.problem != nil {
		return
	}
	id, ok := parseUUID(m.GetId())
	if !ok {
		d.reject(invalid("an event id is missing or malformed"))
		return
	}
	meta := m.GetMetadata()
	typ, ok := meta["type"]
	if !ok {
		d.reject(missingProperty("type"))
		return
	}
	if typ == "" {
		d.reject(invalid("empty event type")) // at once: events without any size could fill the memory
		return
	}
	content, ok := meta["content-type"]
	if !ok {
		d.reject(missingProperty("content-type"))
		return
	}
	d.size += len(m.GetData()) + len(m.GetCustomMetadata()) + 2*len(typ)
	if d.size > eventlog.DefaultMaxAppendBytes {
		d.reject(tooLarge(eventlog.DefaultMaxAppendBytes))
		return
	}
	d.write.Events = append(d.write.Events, eventlog.EventData{
		ID: id, Type: typ, JSON: content == jsonContent, Data: m.GetData(), Metadata: m.GetCustomMetadata(),
	})
}

func parseUUID(u *shared.UUID) (id uuid.UUID, ok bool) {
	switch v := u.GetValue().(type) {
	case *shared.UUID_Structured_:
		binary.BigEndian.PutUint64(id[:8], uint64(v.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(id[8:], uint64(v.Structured.GetLeastSignificantBits()))
	case *shared.UUID_String_:
		var err error
		if id, err = uuid.Parse(v.String_); err != nil {
			return id, false
		}
	}
	return id, id != uuid.Nil
}

// revision converts an exact expected revision.
func revision(r uint64) (eventlog.Expected, bool) {
	return eventlog.Expected(r), r < math.MaxInt64
}

// Append writes the events of one call.
func (s *streamsServer) Append(stream streams.Streams_AppendServer) error {
	d, err := s.receive(stream)
	if err != nil {
		return err
	}
	if d.problem != nil {
		stream.SetTrailer(d.problem.trailer)
		return d.problem.err()
	}
	s.server.writing.RLock()
	defer s.server.writing.RUnlock()
	res, err := s.log.Do(stream.Context(), &d.write)
	var wrong *eventlog.WrongExpectedVersionError
	switch {
	case errors.As(err, &wrong):
		return stream.SendAndClose(wrongVersionResponse(wrong))
	case err != nil:
		p := s.server.explain(stream.Context(), err)
		stream.SetTrailer(p.trailer)
		return p.err()
	}
	return stream.SendAndClose(appended(res))
}

// receive reads all messages of an append.
func (s *streamsServer) receive(stream streams.Streams_AppendServer) (*draft, error) {
	d := &draft{}
	for first := true; ; first = false {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if first {
				d.reject(invalid("the call has no options"))
			}
			return d, nil
		}
		if err != nil {
			return nil, err
		}
		switch c := m.GetContent().(type) {
		case *streams.AppendReq_Options_:
			if !first {
				d.reject(invalid("options come first and once"))
				continue
			}
			expected, ok := appendExpectation(c.Options)
			d.target(c.Options.GetStreamIdentifier(), expected, ok)
		case *streams.AppendReq_ProposedMessage_:
			if first {
				d.reject(invalid("the call has no options"))
				continue
			}
			d.add(c.ProposedMessage)
		default:
			d.reject(invalid("empty message"))
		}
	}
}

func appendExpectation(o *streams.AppendReq_Options) (eventlog.Expected, bool) {
	switch e := o.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Revision:
		return revision(e.Revision)
	case *streams.AppendReq_Options_NoStream:
		return eventlog.NoStream, true
	case *streams.AppendReq_Options_Any:
		return eventlog.Any, true
	case *streams.AppendReq_Options_StreamExists:
		return eventlog.StreamExists, true
	}
	return 0, false
}

var empty = &shared.Empty{}

func appended(res eventlog.WriteResult) *streams.AppendResp {
	ok := &streams.AppendResp_Success{}
	if res.Revision < 0 {
		ok.CurrentRevisionOption = &streams.AppendResp_Success_NoStream{NoStream: empty}
	} else {
		ok.CurrentRevisionOption = &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(res.Revision)}
	}
	if res.Position == 0 {
		ok.PositionOption = &streams.AppendResp_Success_NoPosition{NoPosition: empty}
	} else {
		ok.PositionOption = &streams.AppendResp_Success_Position{
			Position: &streams.AppendResp_Position{CommitPosition: res.Position, PreparePosition: res.Position}}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: ok}}
}

// wrongVersionResponse fills the fields of today and those that clients of version 20.6 read.
func wrongVersionResponse(e *eventlog.WrongExpectedVersionError) *streams.AppendResp {
	w := &streams.AppendResp_WrongExpectedVersion{}
	if e.Current < 0 {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: empty}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: empty}
	} else {
		current := uint64(e.Current)
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: current}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: current}
	}
	switch e.Expected {
	case eventlog.Any:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: empty}
	case eventlog.StreamExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: empty}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: empty}
	case eventlog.NoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: empty}
	default:
		expected := uint64(e.Expected)
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: expected}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: expected}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: w}}
}

// Delete soft-deletes a stream.
func (s *streamsServer) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	var expected eventlog.Expected
	ok := true
	switch e := req.GetOptions().GetExpectedStreamRevision().(type) {
	case *streams.DeleteReq_Options_Revision:
		expected, ok = revision(e.Revision)
	case *streams.DeleteReq_Options_NoStream:
		expected = eventlog.NoStream
	case *streams.DeleteReq_Options_Any:
		expected = eventlog.Any
	case *streams.DeleteReq_Options_StreamExists:
		expected = eventlog.StreamExists
	default:
		ok = false
	}
	pos, err := s.remove(ctx, eventlog.KindSoftDelete, req.GetOptions().GetStreamIdentifier(), expected, ok)
	if err != nil {
		return nil, err
	}
	return &streams.DeleteResp{PositionOption: &streams.DeleteResp_Position_{
		Position: &streams.DeleteResp_Position{CommitPosition: pos, PreparePosition: pos}}}, nil
}

// Tombstone deletes a stream for ever.
func (s *streamsServer) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	var expected eventlog.Expected
	ok := true
	switch e := req.GetOptions().GetExpectedStreamRevision().(type) {
	case *streams.TombstoneReq_Options_Revision:
		expected, ok = revision(e.Revision)
	case *streams.TombstoneReq_Options_NoStream:
		expected = eventlog.NoStream
	case *streams.TombstoneReq_Options_Any:
		expected = eventlog.Any
	case *streams.TombstoneReq_Options_StreamExists:
		expected = eventlog.StreamExists
	default:
		ok = false
	}
	pos, err := s.remove(ctx, eventlog.KindTombstone, req.GetOptions().GetStreamIdentifier(), expected, ok)
	if err != nil {
		return nil, err
	}
	return &streams.TombstoneResp{PositionOption: &streams.TombstoneResp_Position_{
		Position: &streams.TombstoneResp_Position{CommitPosition: pos, PreparePosition: pos}}}, nil
}

func (s *streamsServer) remove(ctx context.Context, kind eventlog.Kind, id *shared.StreamIdentifier,
	expected eventlog.Expected, ok bool) (uint64, error) {
	var d draft
	d.write.Kind = kind
	d.target(id, expected, ok)
	p := d.problem
	if p == nil {
		s.server.writing.RLock()
		defer s.server.writing.RUnlock()
		res, err := s.log.Do(ctx, &d.write)
		if err == nil {
			return res.Position, nil
		}
		p = s.server.explain(ctx, err)
	}
	if p.trailer != nil {
		if err := grpc.SetTrailer(ctx, p.trailer); err != nil {
			return 0, err
		}
	}
	return 0, p.err()
}

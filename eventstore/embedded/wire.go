package embedded

import (
	"encoding/binary"
	"strconv"
	"time"

	"docket/eventstore/embedded/eventlog"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// frame is a message that is already encoded. Reads send most of what the server sends, and generated code would build a
// map for every event; encoding by hand also lets all subscribers share the bytes of a new event.
type frame []byte

// codec is the protobuf codec that passes frames through.
type codec struct{}

var protoCodec = encoding.GetCodecV2(proto.Name)

func (codec) Name() string { return proto.Name }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f)}, nil
	}
	return protoCodec.Marshal(v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error { return protoCodec.Unmarshal(data, v) }

// Field numbers of ReadResp and the messages in it.
const (
	respEvent, respCheckpoint, respCaughtUp                     = 1, 3, 8
	eventRecorded, eventLink, eventCommit                       = 1, 2, 3
	recID, recStream, recRevision, recPrepare, recCommit        = 1, 2, 3, 4, 5
	recMetadata, recCustom, recData                             = 6, 7, 8
	uuidStructured, uuidString                                  = 1, 2
	identifierName                                              = 3
	checkpointTime, caughtUpTime, caughtUpRev, caughtUpPosition = 3, 1, 2, 3
)

const (
	jsonContent   = "application/json"
	binaryContent = "application/octet-stream"
)

func contentType(e *eventlog.Event) string {
	if e.JSON {
		return jsonContent
	}
	return binaryContent
}

// eventFrame encodes a ReadResp with an event. link is the event that led to it, nil for none; with a link, e may be nil
// when its target does not exist.
func eventFrame(e, link *eventlog.Event, textUUID bool) frame {
	shared := e != nil && link == nil && e.Shared && !textUUID
	if shared {
		if b := e.Wire.Load(); b != nil {
			return *b
		}
	}
	origin := e
	if link != nil {
		origin = link
	}
	size := messageSize(e, textUUID) + messageSize(link, textUUID) +
		protowire.SizeTag(eventCommit) + protowire.SizeVarint(origin.Position)
	b := make([]byte, 0, protowire.SizeTag(respEvent)+protowire.SizeBytes(size))
	b = appendHead(b, respEvent, size)
	b = appendRecorded(b, eventRecorded, e, textUUID)
	b = appendRecorded(b, eventLink, link, textUUID)
	b = appendUint(b, eventCommit, origin.Position)
	if shared {
		e.Wire.Store(&b)
	}
	return b
}

func appendHead(b []byte, field protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
}

func appendUint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return append(appendHead(b, field, len(s)), s...)
}

func sizeUint(v uint64) int       { return 1 + protowire.SizeVarint(v) } // all fields here are below 16
func sizeText(n int) int          { return 1 + protowire.SizeBytes(n) }
func sizePair(key, value int) int { return sizeText(sizeText(key) + sizeText(value)) }

func uuidSize(e *eventlog.Event, text bool) int {
	if text {
		return sizeText(36)
	}
	return sizeText(sizeUint(binary.BigEndian.Uint64(e.ID[:8])) + sizeUint(binary.BigEndian.Uint64(e.ID[8:])))
}

// createdDigits is how long a creation time is in decimal.
func createdDigits(e *eventlog.Event) int {
	var buf [20]byte
	return len(strconv.AppendInt(buf[:0], e.Created, 10))
}

func recordedSize(e *eventlog.Event, textUUID bool) int {
	return sizeText(uuidSize(e, textUUID)) + sizeText(sizeText(len(e.Stream))) +
		sizeUint(uint64(e.Revision)) + 2*sizeUint(e.Position) +
		sizePair(len("type"), len(e.Type)) + sizePair(len("created"), createdDigits(e)) +
		sizePair(len("content-type"), len(contentType(e))) +
		sizeText(len(e.Metadata)) + sizeText(len(e.Data))
}

func messageSize(e *eventlog.Event, textUUID bool) int {
	if e == nil {
		return 0
	}
	return sizeText(recordedSize(e, textUUID))
}

func appendRecorded(b []byte, field protowire.Number, e *eventlog.Event, textUUID bool) []byte {
	if e == nil {
		return b
	}
	b = appendHead(b, field, recordedSize(e, textUUID))
	b = appendHead(b, recID, uuidSize(e, textUUID))
	if textUUID {
		b = appendText(b, uuidString, e.ID.String())
	} else {
		most, least := binary.BigEndian.Uint64(e.ID[:8]), binary.BigEndian.Uint64(e.ID[8:])
		b = appendHead(b, uuidStructured, sizeUint(most)+sizeUint(least))
		b = appendUint(b, 1, most)
		b = appendUint(b, 2, least)
	}
	b = appendHead(b, recStream, sizeText(len(e.Stream)))
	b = appendText(b, identifierName, e.Stream)
	b = appendUint(b, recRevision, uint64(e.Revision))
	b = appendUint(b, recPrepare, e.Position)
	b = appendUint(b, recCommit, e.Position)
	b = appendPair(b, "type", e.Type)
	var buf [20]byte
	created := strconv.AppendInt(buf[:0], e.Created, 10)
	b = appendHead(b, recMetadata, sizeText(len("created"))+sizeText(len(created)))
	b = appendText(b, 1, "created")
	b = append(appendHead(b, 2, len(created)), created...)
	b = appendPair(b, "content-type", contentType(e))
	b = append(appendHead(b, recCustom, len(e.Metadata)), e.Metadata...)
	return append(appendHead(b, recData, len(e.Data)), e.Data...)
}

func appendPair(b []byte, key, value string) []byte {
	b = appendHead(b, recMetadata, sizeText(len(key))+sizeText(len(value)))
	return appendText(appendText(b, 1, key), 2, value)
}

// checkpointFrame encodes a ReadResp with a checkpoint. The time is a field of newer protocol versions.
func checkpointFrame(pos uint64) frame {
	body := appendPosition(nil, pos)
	body = appendTime(body, checkpointTime, time.Now())
	return appendMessage(nil, respCheckpoint, body)
}

// caughtUpFrame encodes a ReadResp that says a subscription is live. Newer clients need to know when and where, so both
// are there as fields that older clients skip: a stream revision, or a position of the whole log.
func caughtUpFrame(revision int64, pos uint64, all bool) frame {
	body := appendTime(nil, caughtUpTime, time.Now())
	if all {
		body = appendMessage(body, caughtUpPosition, appendPosition(nil, pos))
	} else if revision >= 0 {
		body = appendUint(body, caughtUpRev, uint64(revision))
	}
	return appendMessage(nil, respCaughtUp, body)
}

func appendPosition(b []byte, pos uint64) []byte {
	return appendUint(appendUint(b, 1, pos), 2, pos)
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	return appendMessage(b, field, appendUint(appendUint(nil, 1, uint64(t.Unix())), 2, uint64(t.Nanosecond())))
}

func appendMessage(b []byte, field protowire.Number, body []byte) []byte {
	return append(appendHead(b, field, len(body)), body...)
}

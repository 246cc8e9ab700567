package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"
)

// A record is one event as stored under its position. Layout, little endian:
//
//	 0 u32 crc32c over the position and everything from offset 4
//	 4 u8  version     5 u8 flags      6 u16 zero
//	 8 u64 position of the predecessor (0 for the first)
//	16 u64 ordinal in the log, from 0
//	24 u32 crc32c of the predecessor
//	28 u32 length of the stream name
//	32 u64 revision   40 i64 created  48 16 bytes id
//	64 u32 length of the type         68 u32 length of the metadata
//	72 stream, type, metadata, data (the rest)
//
// Predecessor, its checksum and the ordinal chain the records: a missing or replaced one shows.
const (
	recordHeader  = 72
	recordVersion = 1
	flagJSON      = 1
)

// firstPosition is where a new log starts; position 0 means "before everything".
const firstPosition = 64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// link is what a record says about its predecessor.
type link struct {
	pos uint64
	crc uint32
	seq uint64 // ordinal of the record itself
}

func recordSize(e *Event) int {
	return recordHeader + len(e.Stream) + len(e.Type) + len(e.Metadata) + len(e.Data)
}

// encodeRecord writes e into dst, which must be recordSize(e) long, and returns the checksum.
func encodeRecord(dst []byte, e *Event, prev link) uint32 {
	dst[4] = recordVersion
	dst[5] = 0
	if e.JSON {
		dst[5] = flagJSON
	}
	dst[6], dst[7] = 0, 0
	le := binary.LittleEndian
	le.PutUint64(dst[8:], prev.pos)
	le.PutUint64(dst[16:], prev.seq)
	le.PutUint32(dst[24:], prev.crc)
	le.PutUint32(dst[28:], uint32(len(e.Stream)))
	le.PutUint64(dst[32:], uint64(e.Revision))
	le.PutUint64(dst[40:], uint64(e.Created))
	copy(dst[48:64], e.ID[:])
	le.PutUint32(dst[64:], uint32(len(e.Type)))
	le.PutUint32(dst[68:], uint32(len(e.Metadata)))
	n := recordHeader
	n += copy(dst[n:], e.Stream)
	n += copy(dst[n:], e.Type)
	n += copy(dst[n:], e.Metadata)
	copy(dst[n:], e.Data)
	crc := recordCRC(e.Position, dst)
	le.PutUint32(dst, crc)
	return crc
}

func recordCRC(pos uint64, rec []byte) uint32 {
	// The position by hand: handing a local array to the package would allocate it.
	crc := ^uint32(0)
	for range 8 {
		crc = castagnoli[byte(crc)^byte(pos)] ^ crc>>8
		pos >>= 8
	}
	return crc32.Update(^crc, castagnoli, rec[4:])
}

// record is a checked view of an encoded record; its slices point into the buffer it was parsed from.
type record struct {
	pos                     uint64
	crc                     uint32
	prev                    link
	rev, created            int64
	json                    bool
	id                      [16]byte
	stream, typ, meta, data []byte
}

// parse checks the record stored at pos and points r at its parts.
func (r *record) parse(pos uint64, b []byte) error {
	if len(b) < recordHeader {
		return &CorruptionError{Position: pos, Cause: fmt.Errorf("record of %d bytes is too short", len(b))}
	}
	le := binary.LittleEndian
	r.pos, r.crc = pos, le.Uint32(b)
	if recordCRC(pos, b) != r.crc {
		return &CorruptionError{Position: pos, Cause: errors.New("checksum mismatch")}
	}
	if b[4] != recordVersion {
		return &CorruptionError{Position: pos, Cause: fmt.Errorf("unknown record version %d", b[4])}
	}
	r.json = b[5]&flagJSON != 0
	r.prev = link{pos: le.Uint64(b[8:]), seq: le.Uint64(b[16:]), crc: le.Uint32(b[24:])}
	r.rev, r.created = int64(le.Uint64(b[32:])), int64(le.Uint64(b[40:]))
	copy(r.id[:], b[48:64])
	s, t, m := uint64(le.Uint32(b[28:])), uint64(le.Uint32(b[64:])), uint64(le.Uint32(b[68:]))
	if recordHeader+s+t+m > uint64(len(b)) {
		return &CorruptionError{Position: pos, Cause: errors.New("lengths exceed the record")}
	}
	rest := b[recordHeader:]
	r.stream, rest = rest[:s:s], rest[s:]
	r.typ, rest = rest[:t:t], rest[t:]
	r.meta, r.data = rest[:m:m], rest[m:]
	return nil
}

// view is b as a string that must not outlive b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

const (
	slabBytes  = 64 << 10
	slabEvents = 128
	maxTypes   = 4096
)

// decoder turns records into events with few allocations: payloads are cut from slabs, events from blocks, and type
// names, of which there are few, are kept. It is not safe for concurrent use.
type decoder struct {
	slab   []byte
	events []Event
	types  map[string]string
}

func newDecoder() *decoder { return &decoder{types: make(map[string]string)} }

func (d *decoder) event(r *record) *Event {
	if len(d.events) == 0 {
		d.events = make([]Event, slabEvents)
	}
	e := &d.events[0]
	d.events = d.events[1:]
	e.Position, e.Revision, e.Created, e.ID, e.JSON = r.pos, r.rev, r.created, r.id, r.json
	e.Stream = string(r.stream)
	e.Type = d.typeName(r.typ)
	e.Metadata = d.copy(r.meta)
	e.Data = d.copy(r.data)
	return e
}

func (d *decoder) typeName(b []byte) string {
	if s, ok := d.types[string(b)]; ok {
		return s
	}
	if len(d.types) >= maxTypes {
		clear(d.types)
	}
	s := string(b)
	d.types[s] = s
	return s
}

func (d *decoder) copy(b []byte) []byte {
	n := len(b)
	switch {
	case n == 0:
		return []byte{}
	case n > slabBytes/4:
		return append([]byte(nil), b...)
	case n > len(d.slab):
		d.slab = make([]byte, slabBytes)
	}
	out := d.slab[:n:n]
	d.slab = d.slab[n:]
	copy(out, b)
	return out
}

// Keys of the database. Numbers are big endian so that keys sort as they count.
//
//	l <position>          the record
//	s <stream no> <rev>   its position
//	n <stream name>       the stream's number
const (
	keyLog    = 'l'
	keyStream = 's'
	keyName   = 'n'
)

func putLogKey(dst []byte, pos uint64) {
	dst[0] = keyLog
	binary.BigEndian.PutUint64(dst[1:], pos)
}

func logKey(pos uint64) []byte {
	k := make([]byte, 9)
	putLogKey(k, pos)
	return k
}

func putStreamKey(dst []byte, no uint64, rev int64) {
	dst[0] = keyStream
	binary.BigEndian.PutUint64(dst[1:], no)
	binary.BigEndian.PutUint64(dst[9:], uint64(rev))
}

func streamKey(no uint64, rev int64) []byte {
	k := make([]byte, 17)
	putStreamKey(k, no, rev)
	return k
}

func nameKey(dst []byte, name string) []byte {
	return append(append(dst, keyName), name...)
}

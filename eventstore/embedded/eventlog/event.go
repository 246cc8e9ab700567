package eventlog

import (
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Event is one recorded event. It is immutable and shared between readers: nobody may change what it points to.
type Event struct {
	Position uint64    // place in the log
	Revision int64     // place in the stream, from 0; Tombstoned for a tombstone
	Created  int64     // 100 ns ticks since 1970-01-01 UTC, never running backwards along the log
	ID       uuid.UUID // chosen by the writer
	Stream   string
	Type     string
	JSON     bool // content type application/json, otherwise application/octet-stream
	Data     []byte
	Metadata []byte

	// Wire lets a server keep one encoded form for all its readers. The log never looks at it.
	Wire atomic.Pointer[[]byte]
	// Shared says that the event sits in the ring of newest events, so that keeping Wire may pay.
	Shared bool
}

// CreatedTime is Created as a time.
func (e *Event) CreatedTime() time.Time { return time.Unix(0, e.Created*100).UTC() }

// size is about what the event weighs in memory.
func (e *Event) size() int {
	return 160 + len(e.Stream) + len(e.Type) + len(e.Data) + len(e.Metadata)
}

// EventData is an event to be written. The log keeps Data and Metadata: the caller must not change them afterwards.
type EventData struct {
	ID       uuid.UUID
	Type     string
	JSON     bool
	Data     []byte
	Metadata []byte
}

// size is what counts against Options.MaxAppendBytes: the length of the type counts twice because EventStoreDB keeps it
// as UTF-16.
func (e *EventData) size() int { return len(e.Data) + len(e.Metadata) + 2*len(e.Type) }

// Expected is the revision a writer expects a stream to be at: an exact one (0 and up), NoStream, Any or StreamExists.
type Expected int64

// The expectations that are not a revision.
const (
	NoStream     Expected = -1
	Any          Expected = -2
	StreamExists Expected = -4
)

// Tombstoned is the revision of a tombstone, and the $tb of a soft-deleted stream.
const Tombstoned int64 = math.MaxInt64

// Names and types the log itself gives a meaning to.
const (
	TypeMetadata      = "$metadata"
	TypeStreamDeleted = "$streamDeleted"
	TypeLink          = "$>"
	metaPrefix        = "$$"
)

// MetadataStream is the name of the stream that holds the metadata of stream.
func MetadataStream(stream string) string { return metaPrefix + stream }

// splitMeta returns the stream a metadata stream belongs to, or the name itself.
func splitMeta(name string) (base string, isMeta bool) {
	return strings.CutPrefix(name, metaPrefix)
}

// ticks is t in 100 ns steps since 1970.
func ticks(t time.Time) int64 { return t.UnixNano() / 100 }

package eventlog

import (
	"encoding/json"
	"fmt"
	"time"
)

// metadata is what the log itself heeds of a stream's metadata. Zero values mean no restriction.
type metadata struct {
	MaxCount       int64
	MaxAge         time.Duration
	TruncateBefore int64
}

// metadataOfMetadata applies to every metadata stream: only the last one counts.
var metadataOfMetadata = metadata{MaxCount: 1}

func (m metadata) softDeleted() bool { return m.TruncateBefore == Tombstoned }

// parseMetadata reads the JSON of a metadata event. As in EventStoreDB, metadata that is not understood restricts nothing.
func parseMetadata(data []byte) metadata {
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		return metadata{}
	}
	number := func(key string) int64 {
		var n int64
		if json.Unmarshal(raw[key], &n) != nil || n < 0 {
			return 0
		}
		return n
	}
	m := metadata{MaxCount: number("$maxCount"), TruncateBefore: number("$tb")}
	// Ages that do not fit a Duration never expire anything.
	if s := number("$maxAge"); s < int64(1<<63-1)/int64(time.Second) {
		m.MaxAge = time.Duration(s) * time.Second
	}
	return m
}

// softDeleteMetadata replaces a stream's metadata when it is soft-deleted.
var softDeleteMetadata = fmt.Appendf(nil, `{"$tb":%d}`, Tombstoned)

// undeletedMetadata is raw with $tb set to the revision at which a soft-deleted stream goes on.
func undeletedMetadata(raw []byte, revision int64) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields["$tb"] = fmt.Append(nil, revision)
	return json.Marshal(fields)
}

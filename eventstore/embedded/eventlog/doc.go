// Package eventlog is a durable, totally ordered log of events grouped into streams, kept in one pebble database.
//
// One goroutine, the sequencer, decides every write: it checks the expected revision and whether the write is a retry,
// assigns revisions and positions, and fills one batch until its queue is empty. It answers, rejections included, only
// after that batch is on disk, so no answer ever refers to something a crash could undo.
//
// The position of an event is a virtual byte offset: monotone, never zero, not dense. It is the total order of the log.
// Readers and subscriptions are cursors: they read the newest events from a ring in memory and older ones from the
// database, so a slow reader costs nothing and holds nobody up.
//
// Stream semantics (expected revisions, idempotent retries, soft deletion, tombstones, $maxCount, $maxAge, $tb) are
// those of EventStoreDB 24.
package eventlog

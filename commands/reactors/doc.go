// Package reactors runs what Docket does by itself because of an event: a
// watermill handler sees the event and sends commands (or starts an effect).
//
// Each reactor has its own place in the event log, kept in Postgres, and works
// through the log in order, one event at a time, in one process at a time. An
// event is handled at least once: after a crash the last ones come again. What a
// handler does must therefore be the same when done twice. Commands are: their
// ids are fixed by the event and the reactor. Rebuilding read models does not
// concern reactors.
//
// What cannot work now (a store is down, a read model is late) is tried again
// until it works. A panic or any other error stops the reactor at the event, and
// only this reactor; it says so in its Status and tries again after a while.
// Nothing is skipped unless an operator says so (Engine.Skip).
package reactors

// Package effects does what an event leads to outside of Docket: a document goes
// to a printer, a directory is read. A reaction (On) turns an event into a job in
// the transaction that moves its reactor's checkpoint; a worker runs the job; its
// outcome is recorded by commands whose ids the event fixes.
//
// A job is done at least once: nobody can know whether a printer got what was on
// its way when the process died. Job.Repeat says when that may have happened.
//
// Jobs lie in Postgres, in tables of River (schema effects). What River does not
// know is kept in its jobs' metadata: how often operators had a job run again,
// why it was given up, who cancelled it. River never gives a job up by itself,
// since the outcome has to be recorded first.
package effects

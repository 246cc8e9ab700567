package directory

import (
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// StartSyncRun begins a synchronisation of a user directory. While one runs, the
// directory's key is taken and the command refused (fault.Unique). A run that was
// started before is left alone.
type StartSyncRun struct {
	ID          domain.ID
	DirectoryID domain.ID
	Due         *time.Time // of the schedule; nil when somebody asks for it
}

func (c StartSyncRun) Name() string       { return "directory.start-sync-run" }
func (c StartSyncRun) Stream() string     { return directory.SyncRunStream(c.ID) }
func (c StartSyncRun) Permission() string { return "userDirectories.edit" }

// Refs implements commands.Referring.
func (c StartSyncRun) Refs() []commands.Ref {
	return []commands.Ref{commands.RefTo[directory.UserDirectory](directory.UserDirectoryStream(c.DirectoryID))}
}

// Decide implements commands.Command.
func (c StartSyncRun) Decide(r directory.SyncRun, env commands.Env) ([]domain.Event, error) {
	if r.Exists() {
		return nil, nil
	}
	d := looked[directory.UserDirectory](env, directory.UserDirectoryStream(c.DirectoryID))
	if !visible(env, d) {
		return nil, fault.Missing("userdirectory", c.DirectoryID)
	}
	if !d.Settings.Active {
		return nil, fault.New(fault.Conflict, "userdirectory.inactive", "the user directory is not active")
	}
	return []domain.Event{directory.SyncRunStarted{ID: c.ID, DirectoryID: c.DirectoryID, OrganizationID: d.OrganizationID, Due: c.Due, At: env.Now}}, nil
}

// StopSyncRun asks a run to stop where it is.
type StopSyncRun struct{ ID domain.ID }

func (c StopSyncRun) Name() string       { return "directory.stop-sync-run" }
func (c StopSyncRun) Stream() string     { return directory.SyncRunStream(c.ID) }
func (c StopSyncRun) Permission() string { return "userDirectories.edit" }

// Decide implements commands.Command.
func (c StopSyncRun) Decide(r directory.SyncRun, env commands.Env) ([]domain.Event, error) {
	switch {
	case !r.Exists():
		return nil, fault.Missing("syncrun", c.ID)
	case !r.Running():
		return nil, fault.New(fault.Conflict, "syncrun.ended", "the run has ended")
	case r.Stopping:
		return nil, nil
	}
	return []domain.Event{directory.SyncRunStopRequested{ID: c.ID, At: env.Now}}, nil
}

// RecordSyncProgress says how far a run is.
type RecordSyncProgress struct {
	ID     domain.ID
	Counts directory.SyncCounts
}

func (c RecordSyncProgress) Name() string       { return "directory.record-sync-progress" }
func (c RecordSyncProgress) Stream() string     { return directory.SyncRunStream(c.ID) }
func (c RecordSyncProgress) Permission() string { return onlySystem }

// Decide implements commands.Command.
func (c RecordSyncProgress) Decide(r directory.SyncRun, env commands.Env) ([]domain.Event, error) {
	if err := onRun(c.ID, r, env); err != nil || !r.Running() || r.Counts == c.Counts {
		return nil, err
	}
	return []domain.Event{directory.SyncRunProgressed{ID: c.ID, Counts: c.Counts, At: env.Now}}, nil
}

// EndSyncRun ends a run: as failed with a Code, as stopped when it was asked to
// stop (Stopped), else as finished. A run that ended stays as it is.
type EndSyncRun struct {
	ID           domain.ID
	Stopped      bool
	Code, Reason string
	Counts       *directory.SyncCounts // nil: those of the last progress
	Errors       []directory.EntryError
}

func (c EndSyncRun) Name() string       { return "directory.end-sync-run" }
func (c EndSyncRun) Stream() string     { return directory.SyncRunStream(c.ID) }
func (c EndSyncRun) Permission() string { return onlySystem }

// Decide implements commands.Command.
func (c EndSyncRun) Decide(r directory.SyncRun, env commands.Env) ([]domain.Event, error) {
	if err := onRun(c.ID, r, env); err != nil || !r.Running() {
		return nil, err
	}
	counts, errors := r.Counts, orEmpty(c.Errors)
	if c.Counts != nil {
		counts = *c.Counts
	}
	errors = errors[:min(len(errors), directory.MaxEntryErrors)]
	switch {
	case c.Code != "":
		return []domain.Event{directory.SyncRunFailed{ID: c.ID, Code: c.Code, Reason: c.Reason, Counts: counts, Errors: errors, At: env.Now}}, nil
	case c.Stopped:
		return []domain.Event{directory.SyncRunStopped{ID: c.ID, Counts: counts, Errors: errors, At: env.Now}}, nil
	}
	return []domain.Event{directory.SyncRunFinished{ID: c.ID, Counts: counts, Errors: errors, At: env.Now}}, nil
}

// onRun refuses what only the system does, and runs that are not there.
func onRun(id domain.ID, r directory.SyncRun, env commands.Env) error {
	if env.Actor.UserID != domain.SystemID {
		return fault.New(fault.Denied, "denied", "only the system does this")
	}
	if !r.Exists() {
		return fault.Missing("syncrun", id)
	}
	return nil
}

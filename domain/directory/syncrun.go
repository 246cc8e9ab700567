package directory

import (
	"time"

	"docket/domain"
)

// MaxEntryErrors is how many entries that could not be taken over a run names.
const MaxEntryErrors = 100

// Tally counts what became of entries of one kind. Whoever comes back counts as
// changed.
type Tally struct {
	Added       int `json:"added"`
	Changed     int `json:"changed"`
	Deactivated int `json:"deactivated"` // also those that the directory calls disabled
	Unchanged   int `json:"unchanged"`
	Failed      int `json:"failed"`
}

// SyncCounts is what became of all entries so far.
type SyncCounts struct {
	Users  Tally `json:"users"`
	Groups Tally `json:"groups"`
}

// EntryError says why an entry could not be taken over. It holds no personal data
// but the directory's own id of the entry.
type EntryError struct {
	Kind       string `json:"kind"` // "user" or "group"
	ExternalID string `json:"externalId"`
	Code       string `json:"code"` // stable word: "user-email.taken"
	Message    string `json:"message"`
}

// SyncRunStarted begins a synchronisation of a user directory.
type SyncRunStarted struct {
	ID             domain.ID  `json:"id"`
	DirectoryID    domain.ID  `json:"directoryId"`
	OrganizationID domain.ID  `json:"organizationId"`
	Due            *time.Time `json:"due,omitempty"` // of the schedule; nil when somebody asked for it
	At             time.Time  `json:"at"`
}

// SyncRunProgressed says how far a run is.
type SyncRunProgressed struct {
	ID     domain.ID  `json:"id"`
	Counts SyncCounts `json:"counts"`
	At     time.Time  `json:"at"`
}

// SyncRunStopRequested asks a run to stop where it is.
type SyncRunStopRequested struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// SyncRunFinished ends a run that has read the whole directory.
type SyncRunFinished struct {
	ID     domain.ID    `json:"id"`
	Counts SyncCounts   `json:"counts"`
	Errors []EntryError `json:"errors"` // the first MaxEntryErrors; Counts has the number of all
	At     time.Time    `json:"at"`
}

// SyncRunFailed ends a run that could not go on. What it changed stays.
type SyncRunFailed struct {
	ID     domain.ID    `json:"id"`
	Code   string       `json:"code"` // stable word: "directory.unreachable"
	Reason string       `json:"reason"`
	Counts SyncCounts   `json:"counts"`
	Errors []EntryError `json:"errors"`
	At     time.Time    `json:"at"`
}

// SyncRunStopped ends a run that was asked to stop. What it changed stays.
type SyncRunStopped struct {
	ID     domain.ID    `json:"id"`
	Counts SyncCounts   `json:"counts"`
	Errors []EntryError `json:"errors"`
	At     time.Time    `json:"at"`
}

func (SyncRunStarted) EventType() string       { return "directory.sync-run-started" }
func (SyncRunProgressed) EventType() string    { return "directory.sync-run-progressed" }
func (SyncRunStopRequested) EventType() string { return "directory.sync-run-stop-requested" }
func (SyncRunFinished) EventType() string      { return "directory.sync-run-finished" }
func (SyncRunFailed) EventType() string        { return "directory.sync-run-failed" }
func (SyncRunStopped) EventType() string       { return "directory.sync-run-stopped" }

// SyncRunStream names the stream of a synchronisation run.
func SyncRunStream(id domain.ID) string { return "syncrun-" + id.String() }

// SyncStatus is how a user directory's last run is or ended, in Qalyptus' words.
type SyncStatus string

const (
	SyncNever     SyncStatus = "Never"
	SyncRunning   SyncStatus = "Running"
	SyncError     SyncStatus = "Error" // could not go on
	SyncStopped   SyncStatus = "Stopped"
	SyncSucceeded SyncStatus = "Success"
)

// SyncRun is a synchronisation as it is.
type SyncRun struct {
	ID             domain.ID
	DirectoryID    domain.ID
	OrganizationID domain.ID
	Due            *time.Time
	Status         SyncStatus
	Stopping       bool // somebody asked for it
	Code, Reason   string
	Counts         SyncCounts
	Errors         []EntryError
	StartedAt      time.Time
	EndedAt        time.Time // zero while it runs
}

// Apply implements domain.State.
func (r SyncRun) Apply(e domain.Event) SyncRun {
	switch e := e.(type) {
	case SyncRunStarted:
		return SyncRun{ID: e.ID, DirectoryID: e.DirectoryID, OrganizationID: e.OrganizationID, Due: e.Due, Status: SyncRunning, StartedAt: e.At}
	case SyncRunProgressed:
		r.Counts = e.Counts
	case SyncRunStopRequested:
		r.Stopping = true
	case SyncRunFinished:
		r.Status, r.Counts, r.Errors, r.EndedAt = SyncSucceeded, e.Counts, e.Errors, e.At
	case SyncRunFailed:
		r.Status, r.Code, r.Reason, r.Counts, r.Errors, r.EndedAt = SyncError, e.Code, e.Reason, e.Counts, e.Errors, e.At
	case SyncRunStopped:
		r.Status, r.Counts, r.Errors, r.EndedAt = SyncStopped, e.Counts, e.Errors, e.At
	}
	return r
}

// Exists implements domain.State: runs stay.
func (r SyncRun) Exists() bool { return r.ID != (domain.ID{}) }

// Running tells whether the run goes on.
func (r SyncRun) Running() bool { return r.Status == SyncRunning }

// Organizations implements domain.State.
func (r SyncRun) Organizations() []domain.ID { return []domain.ID{r.OrganizationID} }

// Keys implements domain.State: a directory has one run at a time.
func (r SyncRun) Keys() []domain.Key {
	if !r.Running() {
		return nil
	}
	return []domain.Key{{Kind: SyncRunKey, Value: r.DirectoryID.String()}}
}

// SyncRunKey is the kind of the key that a running run holds.
const SyncRunKey = "syncrun-directoryId"

// Total is the number of entries that were looked at.
func (c SyncCounts) Total() int { return c.Users.total() + c.Groups.total() }

func (t Tally) total() int { return t.Added + t.Changed + t.Deactivated + t.Unchanged + t.Failed }

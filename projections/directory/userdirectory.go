package directory

import (
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/projections"
)

// UserDirectoryRow is a user directory with its last run. Secrets are in no row.
type UserDirectoryRow struct {
	ID                domain.ID  `db:"id,pk"`
	Number            int32      `db:"number"`
	OrganizationID    domain.ID  `db:"organization_id"`
	Type              string     `db:"type"`
	Name              string     `db:"name"`
	NameF             string     `db:"name_f,fold"`
	Prefix            string     `db:"prefix"`
	UserDirectoryName string     `db:"user_directory_name"`
	AzureClientID     string     `db:"azure_client_id"`
	AzureTenantID     string     `db:"azure_tenant_id"`
	HostName          string     `db:"host_name"`
	Port              int32      `db:"port"`
	UserName          string     `db:"user_name"`
	SendNotification  bool       `db:"send_notification"`
	DefaultUserRole   *domain.ID `db:"default_user_role"`
	Filter            string     `db:"filter"`
	Synchronization   string     `db:"synchronization"`
	Frequency         string     `db:"frequency"`
	FrequencyTime     string     `db:"frequency_time"`
	TimeZone          string     `db:"time_zone"`
	IsActive          bool       `db:"is_active"`
	ScheduledSince    time.Time  `db:"scheduled_since"`
	LastRunID         *domain.ID `db:"last_run_id"`
	LastStartedSync   *time.Time `db:"last_started_sync"`
	SyncStatus        string     `db:"sync_status"` // directory.SyncStatus
	CreatedAt         time.Time  `db:"created_at"`
	ModifiedAt        time.Time  `db:"modified_at"`
}

// UserDirectories are all user directories.
var UserDirectories = projections.NewTable[UserDirectoryRow]("user_directories",
	projections.Index("organization_id", "name_f", "id"), projections.Index("number"), projections.Index("synchronization", "id"))

// SyncRunRow is a synchronisation. What went wrong with which entry stands in the
// log only.
type SyncRunRow struct {
	ID             domain.ID  `db:"id,pk"`
	DirectoryID    domain.ID  `db:"directory_id"`
	OrganizationID domain.ID  `db:"organization_id"`
	Due            *time.Time `db:"due"`
	Status         string     `db:"status"` // directory.SyncStatus
	Stopping       bool       `db:"stopping"`
	Code           string     `db:"code"`
	Reason         string     `db:"reason"`
	StartedAt      time.Time  `db:"started_at"`
	EndedAt        *time.Time `db:"ended_at"`

	Counts directory.SyncCounts `db:"counts,json"`
}

// SyncRuns are all synchronisation runs.
var SyncRuns = projections.NewTable[SyncRunRow]("sync_runs", projections.Index("directory_id", "id"), projections.Index("organization_id", "id"))

func userDirectoryHandlers() []projections.Part {
	return []projections.Part{
		projections.Put(UserDirectories, func(e directory.UserDirectoryCreated, _ projections.Rec) UserDirectoryRow {
			row := UserDirectoryRow{ID: e.ID, Number: e.Number, OrganizationID: e.OrganizationID, SyncStatus: string(directory.SyncNever),
				ScheduledSince: e.CreatedAt, CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt}
			row.set(e.Settings)
			return row
		}),
		projections.Update(UserDirectories, projections.ByStream, func(d *UserDirectoryRow, e directory.UserDirectoryChanged, _ projections.Rec) {
			if d.Synchronization != string(e.Settings.Synchronization) || d.Frequency != e.Settings.Frequency || d.FrequencyTime != e.Settings.FrequencyTime ||
				d.TimeZone != e.Settings.TimeZone || d.IsActive != e.Settings.Active {
				d.ScheduledSince = e.At // as the state has it
			}
			d.set(e.Settings)
			d.ModifiedAt = e.At
		}),
		projections.Update(UserDirectories, projections.ByStream, func(d *UserDirectoryRow, e directory.UserDirectorySecretsChanged, _ projections.Rec) {
			d.ModifiedAt = e.At
		}),
		projections.Delete(UserDirectories, func(e directory.UserDirectoryDeleted, _ projections.Rec) domain.ID { return e.ID }),

		projections.Put(SyncRuns, func(e directory.SyncRunStarted, _ projections.Rec) SyncRunRow {
			return SyncRunRow{ID: e.ID, DirectoryID: e.DirectoryID, OrganizationID: e.OrganizationID, Due: e.Due, Status: string(directory.SyncRunning), StartedAt: e.At}
		}),
		projections.Update(UserDirectories, func(e directory.SyncRunStarted, _ projections.Rec) domain.ID { return e.DirectoryID },
			func(d *UserDirectoryRow, e directory.SyncRunStarted, _ projections.Rec) {
				d.LastRunID, d.LastStartedSync, d.SyncStatus = &e.ID, &e.At, string(directory.SyncRunning)
			}),
		projections.Update(SyncRuns, projections.ByStream, func(r *SyncRunRow, e directory.SyncRunProgressed, _ projections.Rec) {
			r.Counts = e.Counts
		}),
		projections.Update(SyncRuns, projections.ByStream, func(r *SyncRunRow, _ directory.SyncRunStopRequested, _ projections.Rec) { r.Stopping = true }),
		projections.Update(SyncRuns, projections.ByStream, func(r *SyncRunRow, e directory.SyncRunFinished, _ projections.Rec) {
			r.end(directory.SyncSucceeded, e.Counts, e.At)
		}),
		projections.Update(SyncRuns, projections.ByStream, func(r *SyncRunRow, e directory.SyncRunFailed, _ projections.Rec) {
			r.end(directory.SyncError, e.Counts, e.At)
			r.Code, r.Reason = e.Code, e.Reason
		}),
		projections.Update(SyncRuns, projections.ByStream, func(r *SyncRunRow, e directory.SyncRunStopped, _ projections.Rec) {
			r.end(directory.SyncStopped, e.Counts, e.At)
		}),
		ended[directory.SyncRunFinished](directory.SyncSucceeded),
		ended[directory.SyncRunFailed](directory.SyncError),
		ended[directory.SyncRunStopped](directory.SyncStopped),
	}
}

func (d *UserDirectoryRow) set(s directory.DirectorySettings) {
	d.Type, d.Name, d.Prefix, d.UserDirectoryName = string(s.Type), s.Name, s.Prefix, s.UserDirectoryName
	d.AzureClientID, d.AzureTenantID, d.HostName, d.Port, d.UserName = s.AzureClientID, s.AzureTenantID, s.HostName, s.Port, s.UserName
	d.SendNotification, d.DefaultUserRole, d.Filter = s.SendNotification, s.DefaultUserRole, s.Filter
	d.Synchronization, d.Frequency, d.FrequencyTime, d.TimeZone, d.IsActive = string(s.Synchronization), s.Frequency, s.FrequencyTime, s.TimeZone, s.Active
}

func (r *SyncRunRow) end(status directory.SyncStatus, counts directory.SyncCounts, at time.Time) {
	r.Status, r.Counts, r.EndedAt = string(status), counts, &at
}

// ended tells a user directory how its run ended. Runs name their directory when
// they start only.
func ended[E domain.Event](status directory.SyncStatus) projections.Part {
	return projections.UpdateEach(UserDirectories, func(_ E, rec projections.Rec) []domain.ID {
		if r, known := projections.Get(rec, SyncRuns, rec.StreamID()); known {
			return []domain.ID{r.DirectoryID}
		}
		return nil
	}, func(d *UserDirectoryRow, _ E, rec projections.Rec) {
		if id := rec.StreamID(); d.LastRunID != nil && *d.LastRunID == id {
			d.SyncStatus = string(status)
		}
	}, projections.Prefetch(SyncRuns, func(_ E, rec projections.Rec) []domain.ID { return []domain.ID{rec.StreamID()} }))
}

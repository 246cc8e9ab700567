package qalyptus

import (
	"fmt"
	"strings"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// UserDirectory as this API shows it. Secrets are never shown.
type UserDirectory struct {
	ID                domain.ID       `json:"id" col:"id"`
	Type              string          `json:"type" col:"type"`
	Name              string          `json:"name" col:"name"`
	Prefix            string          `json:"prefix" col:"prefix"`
	UserDirectoryName string          `json:"userDirectoryName" col:"user_directory_name"`
	AzureClientID     string          `json:"azureClientId" col:"azure_client_id"`
	AzureTenantID     string          `json:"azureTenantId" col:"azure_tenant_id"`
	HostName          string          `json:"hostName" col:"host_name"`
	Port              int32           `json:"port" col:"port"`
	UserName          string          `json:"userName" col:"user_name"`
	SendNotification  bool            `json:"sendNotification" col:"send_notification"`
	DefaultUserRole   *domain.ID      `json:"defaultUserRole" col:"default_user_role"`
	Filter            string          `json:"filter" col:"filter"`
	Synchronization   string          `json:"synchronization" col:"synchronization"`
	Frequency         string          `json:"frequency" col:"frequency"`
	FrequencyTime     string          `json:"frequencyTime" col:"frequency_time"`
	TimeZone          string          `json:"timeZone" col:"time_zone"`
	IsActive          bool            `json:"isActive" col:"is_active"`
	OrganizationID    domain.ID       `json:"organizationId" col:"organization_id"`
	Organization      organizationRef `json:"organization"`
	LastStartedSync   *time.Time      `json:"lastStartedSync" col:"last_started_sync"`
	SyncStatus        string          `json:"syncStatus" col:"sync_status"`
	CreatedDate       time.Time       `json:"createdDate" col:"created_at"`
	ModifiedDate      time.Time       `json:"modifiedDate" col:"modified_at"`
}

var userDirectories = query.MustDefine(query.Resource{
	Name: "userdirectory", Table: "rm_directory.user_directories", ScopeColumn: "organization_id",
	Joins: []query.Join{organizationJoin},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: textOps, Sortable: true},
		{Name: "type", Column: "type", Exact: true, Ops: query.Eq, Sortable: true, Parse: oneOf(string(directory.ActiveDirectory), string(directory.AzureAD))},
		{Name: "lastStartedSync", Column: "last_started_sync", Kind: query.Time, Nullable: true, Sortable: true},
		{Name: "syncStatus", Column: "sync_status", Exact: true, Ops: query.Eq, Sortable: true, Parse: oneOf(string(directory.SyncNever), string(directory.SyncRunning),
			string(directory.SyncError), string(directory.SyncStopped), string(directory.SyncSucceeded))},
	},
	DefaultSort: query.Sort{Field: "name"},
	Indexes:     []string{"organization_id,name_f"},
})

// oneOf reads a known word in any case.
func oneOf(words ...string) func(text string) (any, error) {
	return func(text string) (any, error) {
		for _, w := range words {
			if strings.EqualFold(w, text) {
				return w, nil
			}
		}
		return nil, fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
	}
}

// UserDirectoryShape reads user directories.
var UserDirectoryShape = query.MustShape[UserDirectory](userDirectories)

// UserDirectoryOf is a user directory as the command side knows it. How its last
// run ended stands with the run.
func UserDirectoryOf(d directory.UserDirectory, n Names) UserDirectory {
	s := d.Settings
	return UserDirectory{ID: d.ID, Type: string(s.Type), Name: s.Name, Prefix: s.Prefix, UserDirectoryName: s.UserDirectoryName, AzureClientID: s.AzureClientID,
		AzureTenantID: s.AzureTenantID, HostName: s.HostName, Port: s.Port, UserName: s.UserName, SendNotification: s.SendNotification, DefaultUserRole: s.DefaultUserRole,
		Filter: s.Filter, Synchronization: string(s.Synchronization), Frequency: s.Frequency, FrequencyTime: s.FrequencyTime, TimeZone: s.TimeZone, IsActive: s.Active,
		OrganizationID: d.OrganizationID, Organization: organizationRef(n.ref(d.OrganizationID)), SyncStatus: string(directory.SyncNever),
		CreatedDate: d.CreatedAt, ModifiedDate: d.ModifiedAt}
}

// Synchronisation is a run of a user directory as the operation that starts it
// shows it.
type Synchronisation struct {
	ID              domain.ID `json:"id"`
	UserDirectoryID domain.ID `json:"userDirectoryId"`
	Status          string    `json:"status"`
	StartedDate     time.Time `json:"startedDate"`
}

// SynchronisationOf is a run as the command side knows it.
func SynchronisationOf(r directory.SyncRun) Synchronisation {
	return Synchronisation{ID: r.ID, UserDirectoryID: r.DirectoryID, Status: string(r.Status), StartedDate: r.StartedAt}
}

func registerUserDirectories(r *Reads) {
	tags := []string{"User Directory"}
	list[UserDirectory, Listing](r, httpx.Op{ID: "184", Path: "/user-directories", Summary: "Get user directories", Tags: tags, Permission: "userDirectories.view"}, UserDirectoryShape, nil)
	get(r, httpx.Op{ID: "187", Path: "/user-directories/{id}", Summary: "Get user directory by id", Tags: tags, Permission: "userDirectories.view"}, UserDirectoryShape, nil)
}

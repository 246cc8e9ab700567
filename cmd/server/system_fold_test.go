package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/cmd/server"
	"docket/cmd/server/servertest"
	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// folded are all aggregates as their streams say, by id.
type folded struct {
	organizations map[domain.ID]directory.Organization
	users         map[domain.ID]directory.User
	groups        map[domain.ID]directory.Group
	settings      map[domain.ID]directory.GroupSettings
	roles         map[domain.ID]directory.Role
	keys          map[domain.ID]directory.APIKey
	accessKeys    map[domain.ID]directory.AccessKey
	devices       map[domain.ID]directory.Device
	sessions      map[domain.ID]directory.Session
	directories   map[domain.ID]directory.UserDirectory
	runs          map[domain.ID]directory.SyncRun
	projects      map[domain.ID]reporting.Project
	tasks         map[domain.ID]reporting.Task
	outputPorts   map[domain.ID]printing.OutputPort
	inputPorts    map[domain.ID]printing.InputPort
	documents     map[domain.ID]printing.Document

	// Across streams order counts: what refers to something that was gone already
	// (two requests at the same moment) is not swept away with it.
	ended map[domain.ID]eventstore.Position // roles
	at    map[string]eventstore.Position    // of references, see referred

	lastRun map[domain.ID]domain.ID // of user directories
	printed map[domain.ID]names     // of documents
}

// names are what the history tells of a document that its stream does not: those
// of queue and printer at the time.
type names struct {
	queue, printer, job string
	number              int32 // of the printer
}

func referred(from, to domain.ID) string { return from.String() + ">" + to.String() }

// late tells whether a reference was made after what it points at had ended.
func (f *folded) late(from, to domain.ID) bool {
	end, ended := f.ended[to]
	return ended && f.at[referred(from, to)] > end
}

func foldInto[S domain.State[S]](all map[domain.ID]S, id domain.ID, e domain.Event) {
	all[id] = all[id].Apply(e)
}

func foldAll(t *testing.T, log []recorded) *folded {
	f := &folded{map[domain.ID]directory.Organization{}, map[domain.ID]directory.User{}, map[domain.ID]directory.Group{}, map[domain.ID]directory.GroupSettings{},
		map[domain.ID]directory.Role{}, map[domain.ID]directory.APIKey{}, map[domain.ID]directory.AccessKey{}, map[domain.ID]directory.Device{}, map[domain.ID]directory.Session{},
		map[domain.ID]directory.UserDirectory{}, map[domain.ID]directory.SyncRun{}, map[domain.ID]reporting.Project{}, map[domain.ID]reporting.Task{},
		map[domain.ID]printing.OutputPort{}, map[domain.ID]printing.InputPort{}, map[domain.ID]printing.Document{},
		map[domain.ID]eventstore.Position{}, map[string]eventstore.Position{}, map[domain.ID]domain.ID{}, map[domain.ID]names{}}
	for _, r := range log {
		category, text, _ := strings.Cut(r.Stream, "-")
		if category == "claim" || category == "numbers" || r.kernel() {
			continue
		}
		var id domain.ID
		require.NoError(t, id.UnmarshalText([]byte(text)), r.Stream)
		switch category {
		case "organization":
			foldInto(f.organizations, id, r.event)
		case "user":
			foldInto(f.users, id, r.event)
		case "group":
			foldInto(f.groups, id, r.event)
		case "groupsettings":
			foldInto(f.settings, id, r.event)
		case "role":
			foldInto(f.roles, id, r.event)
		case "apikey":
			foldInto(f.keys, id, r.event)
		case "accesskey":
			foldInto(f.accessKeys, id, r.event)
		case "device":
			foldInto(f.devices, id, r.event)
		case "session":
			foldInto(f.sessions, id, r.event)
		case "userdirectory":
			foldInto(f.directories, id, r.event)
		case "syncrun":
			foldInto(f.runs, id, r.event)
		case "outputport":
			foldInto(f.outputPorts, id, r.event)
		case "inputport":
			foldInto(f.inputPorts, id, r.event)
		case "document":
			foldInto(f.documents, id, r.event)
			f.noteDocument(id, r.event)
		case "project":
			foldInto(f.projects, id, r.event)
		case "task":
			foldInto(f.tasks, id, r.event)
		default:
			t.Fatalf("stream of no known aggregate: %s", r.Stream)
		}
		f.note(r)
	}
	return f
}

// note remembers when things ended and when others began to refer to them.
func (f *folded) note(r recorded) {
	refer := func(from domain.ID, to ...domain.ID) {
		for _, id := range to {
			f.at[referred(from, id)] = r.Position
		}
	}
	switch e := r.event.(type) {
	case directory.RoleDeleted:
		f.ended[e.ID] = r.Position
	case directory.GroupCreated:
		refer(e.ID, e.Roles...)
	case directory.GroupRolesChanged:
		refer(e.ID, e.Roles...)
	case directory.SyncRunStarted:
		f.lastRun[e.DirectoryID] = e.ID
	}
}

// noteDocument remembers what queue and printer of a document are called now: ""
// when they are gone.
func (f *folded) noteDocument(id domain.ID, e domain.Event) {
	n := f.printed[id]
	sent := func(port domain.ID) {
		n.number, n.printer = 0, ""
		if p := f.outputPorts[port]; p.Exists() {
			n.number, n.printer = p.Number, p.Name
		}
	}
	switch e := e.(type) {
	case printing.DocumentReceived:
		if p := f.inputPorts[e.InputPortID]; p.Exists() {
			n.queue = p.Name
		}
	case printing.DocumentRecorded:
		if e.OutputPortID != nil {
			sent(*e.OutputPortID)
		}
	case printing.DocumentReleaseRequested:
		sent(e.OutputPortID)
	case printing.DocumentPrinted:
		n.job = e.PrinterJob
	}
	f.printed[id] = n
}

// live are the aggregates that exist.
func live[S domain.State[S]](all map[domain.ID]S) map[domain.ID]S {
	there := maps.Clone(all)
	maps.DeleteFunc(there, func(_ domain.ID, s S) bool { return !s.Exists() })
	return there
}

// among are those ids that are in a set.
func among[S any](ids []domain.ID, set map[domain.ID]S) []domain.ID {
	kept := []domain.ID{}
	for _, id := range ids {
		if _, in := set[id]; in {
			kept = append(kept, id)
		}
	}
	return kept
}

// rows of a table by key; each has the columns that are compared.
type rows map[string]object

func (r rows) put(columns object, key ...any) { r[strings.TrimSpace(fmt.Sprintln(key...))] = columns }

// expected is what the read models shall show of the streams, table by table.
func (f *folded) expected() map[string]rows {
	tables := map[string]rows{}
	table := func(name string) rows {
		if tables[name] == nil {
			tables[name] = rows{}
		}
		return tables[name]
	}
	f.expectDirectory(table)
	f.expectUserDirectories(table)
	f.expectReporting(table)
	f.expectPrinting(table)
	return tables
}

func (f *folded) expectDirectory(table func(string) rows) {
	users, groups, roles, organizations := live(f.users), live(f.groups), live(f.roles), live(f.organizations)
	members := map[domain.ID]int{}
	principals, within := table("rm_directory.principals"), table("rm_directory.principal_organizations")
	for id, u := range users {
		in := among(u.Groups, groups)
		table("rm_directory.users").put(object{"number": u.Number, "kind": u.Kind, "user_name": u.UserName, "domain_account": u.DomainAccount,
			"first_name": u.FirstName, "last_name": u.LastName, "full_name": directory.FullName(u.FirstName, u.LastName), "email": u.Email, "is_active": u.Active,
			"language": u.Language, "source": u.Source, "groups_count": len(in), "has_password": u.PasswordHash != "", "organization_id": u.InOrgs[0],
			"has_pin": u.PINHash != "", "department": u.Details.Department, "home_folder": u.Details.HomeFolder, "alias": u.Details.Alias, "short_id": u.Details.ShortID,
			"external_id": u.Details.ExternalID, "expires_at": u.Details.ExpiresAt,
			"created_at": u.CreatedAt, "modified_at": u.ModifiedAt}, id)
		principals.put(object{"type": "user", "name": directory.FullName(u.FirstName, u.LastName), "email": u.Email, "is_active": u.Active}, id)
		for _, g := range in {
			members[g]++
			table("rm_directory.user_groups").put(object{}, id, g)
		}
		for _, r := range among(u.Roles, roles) {
			table("rm_directory.user_roles").put(object{}, id, r)
		}
		for _, c := range u.Cards {
			table("rm_directory.user_cards").put(object{"card": c, "organization_id": u.InOrgs[0]}, id, directory.NormalCard(c))
		}
		for _, o := range u.InOrgs {
			table("rm_directory.user_organizations").put(object{}, id, o)
			within.put(object{}, id, o)
		}
	}
	for id, g := range groups {
		table("rm_directory.groups").put(object{"number": g.Number, "organization_id": g.OrganizationID, "name": g.Name, "description": g.Description,
			"source": g.Source, "external_id": g.ExternalID, "is_active": g.Active, "role_ids": g.Roles, "users_count": members[id], "created_at": g.CreatedAt, "modified_at": g.ModifiedAt}, id)
		principals.put(object{"type": "group", "name": g.Name, "email": "", "is_active": g.Active}, id)
		within.put(object{}, id, g.OrganizationID)
		for _, r := range g.Roles {
			if _, there := roles[r]; there || f.late(id, r) {
				table("rm_directory.group_roles").put(object{}, id, r)
			}
		}
	}
	for id, s := range f.settings {
		table("rm_directory.group_settings").put(object{"auto_create_groups": s.AutoCreateGroups, "sync_idp_groups": s.SyncIdpGroups, "everyone_roles": s.EveryoneRoles,
			"created_at": s.CreatedAt, "modified_at": s.ModifiedAt}, id)
	}
	for id, r := range roles {
		table("rm_directory.roles").put(object{"number": r.Number, "organization_id": r.OrganizationID, "name": r.Name, "description": r.Description,
			"level": directory.Level(r.Permissions), "all_projects": r.AllProjects, "projects": r.Projects, "permissions": r.Permissions, "is_active": r.Active,
			"is_system": r.System, "created_at": r.CreatedAt, "modified_at": r.ModifiedAt}, id)
	}
	for id, o := range organizations {
		table("rm_directory.organizations").put(object{"number": o.Number, "parent_id": o.ParentID, "path": append(slices.Clone(o.Ancestors), id), "name": o.Name,
			"display_name": o.DisplayName, "description": o.Description, "theme_id": o.ThemeID, "is_system": o.System(),
			"domain_names": append([]string{}, o.Account.DomainNames...), "keep_hours": o.Account.Defaulted().KeepHours,
			"created_at": o.CreatedAt, "modified_at": o.ModifiedAt}, id)
		for _, name := range o.Account.DomainNames {
			table("rm_directory.account_domains").put(object{"organization_id": id}, name)
		}
	}
	f.expectAccess(table)
	table("rm_directory.orphaned_keys")
	for id, k := range live(f.keys) {
		_, user := users[k.UserID]
		_, organization := organizations[k.OrganizationID]
		if user && organization {
			table("rm_directory.api_keys").put(object{"user_id": k.UserID, "organization_id": k.OrganizationID, "name": k.Name, "description": k.Description,
				"expires_at": k.ExpiresAt, "created_at": k.CreatedAt, "modified_at": k.ModifiedAt}, id)
		}
	}
}

// expectAccess is about what lets clients of the SAFEQ API in.
func (f *folded) expectAccess(table func(string) rows) {
	for _, name := range []string{"user_cards", "account_domains", "access_keys", "devices", "revoked_sessions", "orphaned_access"} {
		table("rm_directory." + name)
	}
	for id, k := range live(f.accessKeys) {
		s := k.Settings
		table("rm_directory.access_keys").put(object{"organization_id": k.OrganizationID, "name": s.Name, "is_active": s.Active, "advanced": s.Advanced, "rights": s.Rights,
			"allowed_addresses": s.AllowedAddresses, "expires_at": s.ExpiresAt, "created_at": k.CreatedAt, "modified_at": k.ModifiedAt}, id)
	}
	for id, d := range live(f.devices) {
		table("rm_directory.devices").put(object{"organization_id": d.OrganizationID, "access_key_id": d.AccessKeyID, "client_id": d.ClientID, "is_approved": d.Approved,
			"modified_at": d.ModifiedAt}, id)
	}
	for id, s := range f.sessions {
		if !s.Exists() {
			table("rm_directory.revoked_sessions").put(object{}, id)
		}
	}
}

func (f *folded) expectUserDirectories(table func(string) rows) {
	for id, d := range live(f.directories) {
		s, run, status := d.Settings, f.runs[f.lastRun[id]], directory.SyncNever
		row := object{"number": d.Number, "organization_id": d.OrganizationID, "type": s.Type, "name": s.Name, "prefix": s.Prefix, "user_directory_name": s.UserDirectoryName,
			"azure_client_id": s.AzureClientID, "azure_tenant_id": s.AzureTenantID, "host_name": s.HostName, "port": s.Port, "user_name": s.UserName,
			"send_notification": s.SendNotification, "default_user_role": s.DefaultUserRole, "filter": s.Filter, "synchronization": s.Synchronization, "frequency": s.Frequency,
			"frequency_time": s.FrequencyTime, "time_zone": s.TimeZone, "is_active": s.Active, "scheduled_since": d.ScheduledSince, "last_run_id": nil, "last_started_sync": nil,
			"created_at": d.CreatedAt, "modified_at": d.ModifiedAt}
		if run.Exists() {
			status = run.Status
			with(row, "last_run_id", run.ID, "last_started_sync", run.StartedAt)
		}
		table("rm_directory.user_directories").put(with(row, "sync_status", status), id)
	}
	for id, r := range f.runs {
		table("rm_directory.sync_runs").put(object{"directory_id": r.DirectoryID, "organization_id": r.OrganizationID, "due": r.Due, "status": r.Status, "stopping": r.Stopping,
			"code": r.Code, "reason": r.Reason, "started_at": r.StartedAt, "ended_at": r.EndedAt, "counts": r.Counts}, id)
	}
}

func (f *folded) expectPrinting(table func(string) rows) {
	for id, p := range live(f.outputPorts) {
		s := p.Settings
		table("rm_printing.output_ports").put(object{"number": p.Number, "organization_id": p.OrganizationID, "name": p.Name, "address": s.Address, "type": s.Type,
			"service_ids": s.ServiceIDs, "vendor": s.Vendor, "embedded": s.Embedded, "protocol": s.Protocol, "output_type": s.OutputType, "reverse_finisher": s.ReverseFinisher,
			"ipp_url": s.IPPURL, "model_family": s.ModelFamily, "monochrome": s.Monochrome, "ip_reader_address": s.IPReaderAddress, "embedded_config": s.EmbeddedConfig,
			"serial": s.Serial, "description": s.Description, "created_at": p.CreatedAt, "modified_at": p.ModifiedAt}, id)
	}
	for id, p := range live(f.inputPorts) {
		s := p.Settings
		table("rm_printing.input_ports").put(object{"number": p.Number, "organization_id": p.OrganizationID, "name": p.Name, "type": s.Type, "output_port_id": s.OutputPortID,
			"flags": s.Flags, "location_id": s.LocationID, "created_at": p.CreatedAt, "modified_at": p.ModifiedAt}, id)
	}
	for id, d := range f.documents {
		n := f.printed[id]
		row := object{"organization_id": d.OrganizationID, "user_id": d.UserID, "input_port_id": nil, "input_port_name": n.queue, "output_port_id": d.OutputPortID,
			"output_port_number": n.number, "output_port_name": n.printer, "title": d.Title, "job_type": d.JobType, "status": d.Status, "reason": d.Reason, "format": d.Format,
			"size": d.Content.Size, "total_pages": d.TotalPages, "color_pages": d.ColorPages, "paper_size": d.PaperSize, "copies": d.Options.Copies, "grayscale": d.Options.Grayscale,
			"duplex": d.Options.Duplex, "release": nil, "printer_job": n.job, "content": "", "has_content": d.Status.HasContent(), "created_at": d.CreatedAt, "modified_at": d.ModifiedAt}
		if d.InputPortID != (domain.ID{}) {
			row["input_port_id"] = d.InputPortID
		}
		if d.Status.HasContent() {
			row["content"] = d.Content.SHA256
		}
		table("rm_printing.documents").put(row, id)
	}
	for id, u := range f.users { // also those who are gone: their jobs are not
		table("rm_printing.users").put(object{"user_name": u.UserName, "full_name": directory.FullName(u.FirstName, u.LastName)}, id)
	}
	for id, o := range f.organizations {
		table("rm_printing.accounts").put(object{"keep_hours": o.Account.Defaulted().KeepHours}, id)
	}
	for id, p := range live(f.projects) {
		for _, r := range p.Reports {
			if r.Template != nil {
				table("rm_printing.project_contents").put(object{}, id, r.Template.SHA256)
			}
		}
	}
}

func (f *folded) expectReporting(table func(string) rows) {
	users, groups, projects := live(f.users), live(f.groups), live(f.projects)
	tasks := map[domain.ID]int{}
	table("rm_reporting.orphaned_tasks")
	table("rm_reporting.orphaned_recipients")
	for id, k := range live(f.tasks) {
		project, there := projects[k.ProjectID]
		if !there {
			continue // gone with its project
		}
		tasks[k.ProjectID]++
		n := k.Notifications
		table("rm_reporting.tasks").put(object{"project_id": k.ProjectID, "project_name": project.Name, "organization_id": k.OrganizationID, "owner_id": k.OwnerID,
			"name": k.Name, "description": k.Description, "is_active": k.Active, "test_mode": k.TestMode, "test_recipients": k.TestRecipients,
			"send_notifications": n.Send, "notify_if_error": n.IfError, "notify_if_warning": n.IfWarning, "notify_if_success": n.IfSuccess,
			"notification_recipients": n.Recipients, "notification_cc": n.Cc, "notification_bcc": n.Bcc, "created_at": k.CreatedAt, "modified_at": k.ModifiedAt}, id)
		for _, r := range k.Recipients {
			_, user := users[r.ID]
			_, group := groups[r.ID]
			if user || group {
				table("rm_reporting.task_recipients").put(object{"send_email": r.SendEmail, "see_in_hub": r.SeeInHub, "organization_id": k.OrganizationID}, id, r.ID, r.Type)
			}
		}
	}
	for id, p := range projects {
		table("rm_reporting.projects").put(object{"organization_id": p.OrganizationID, "owner_id": p.OwnerID, "name": p.Name, "description": p.Description,
			"is_active": true, "reports_count": len(p.Reports), "tasks_count": tasks[id], "created_at": p.CreatedAt, "modified_at": p.ModifiedAt}, id)
		for _, r := range p.Reports {
			table("rm_reporting.reports").put(object{"project_id": id, "organization_id": p.OrganizationID, "owner_id": p.OwnerID, "name": r.Name,
				"description": r.Description, "type": r.Type, "output_formats": r.OutputFormats}, r.ID)
		}
	}
}

// keyColumns of tables whose key is more than the id.
var keyColumns = map[string]string{
	"rm_directory.user_groups": "user_id, group_id", "rm_directory.user_roles": "user_id, role_id", "rm_directory.user_organizations": "user_id, organization_id",
	"rm_directory.principal_organizations": "principal_id, organization_id", "rm_directory.group_roles": "group_id, role_id",
	"rm_directory.group_settings": "organization_id", "rm_reporting.task_recipients": "task_id, recipient_id, type",
	"rm_directory.user_cards": "user_id, card_key", "rm_directory.account_domains": "domain_name", "rm_directory.revoked_sessions": "session_id",
	"rm_printing.accounts": "organization_id", "rm_printing.project_contents": "project_id, sha256",
	"rm_directory.orphaned_keys": "key_id", "rm_reporting.orphaned_tasks": "task_id", "rm_reporting.orphaned_recipients": "task_id, recipient_id, type",
}

// checkRows compares the live rows with the folded streams.
func checkRows(t *testing.T, s *servertest.Server, log []recorded) {
	f := foldAll(t, log)
	for id, k := range live(f.keys) {
		require.True(t, f.users[k.UserID].Exists() && f.organizations[k.OrganizationID].Exists(), "key %s outlives its user or organization", id)
	}
	for id, k := range live(f.tasks) {
		require.True(t, f.projects[k.ProjectID].Exists(), "task %s outlives its project", id)
	}
	expected := f.expected()
	for _, g := range server.Groups() {
		if g.Name() == "audit" {
			continue // see checkAudit
		}
		for _, table := range g.Tables() {
			want, compared := expected[table]
			require.True(t, compared, "the test compares no rows of %s, or made none", table)
			key := keyColumns[table]
			if key == "" {
				key = "id"
			}
			got, err := s.Pools().Main.Query(t.Context(), fmt.Sprintf("select concat_ws(' ', %s), to_jsonb(r) from %s r", key, table))
			require.NoError(t, err)
			var id string
			var row object
			n := 0
			_, err = pgx.ForEachRow(got, []any{&id, &row}, func() error {
				n++
				require.Contains(t, want, id, "%s has a row that no stream says: %v", table, row)
				for column, value := range want[id] {
					require.Contains(t, row, column, table)
					require.Equal(t, plain(t, value), settled(row[column]), "%s %s, column %s", table, id, column)
				}
				row = nil
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, len(want), n, "%s lacks rows of streams", table)
			t.Logf("%s: %d rows", table, n)
		}
	}
}

// plain is a value as it would be read from JSON.
func plain(t *testing.T, v any) any {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	var out any
	require.NoError(t, json.Unmarshal(data, &out))
	return settled(out)
}

// settled makes one of several ways to write the same.
func settled(v any) any {
	switch v := v.(type) {
	case nil:
		return []any{} // lists without members are null or empty
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at.UTC().Truncate(time.Microsecond)
		}
	}
	return v
}

// checkKeys makes sure that every unique value has one owner, and that the
// claims behind the values say the same.
func checkKeys(t *testing.T, log []recorded) {
	f := foldAll(t, log)
	owners := map[domain.Key]string{}
	held := map[string]int{} // by kind, scope and owner
	hold := func(stream string, keys []domain.Key) {
		for _, k := range keys {
			require.Empty(t, owners[k], "%s and %s both hold %v", owners[k], stream, k)
			owners[k] = stream
			held[k.Kind+" "+k.Scope+" "+stream]++
		}
	}
	for id, s := range f.organizations {
		hold(directory.OrganizationStream(id), s.Keys())
	}
	for id, s := range f.users {
		hold(directory.UserStream(id), s.Keys())
	}
	for id, s := range f.groups {
		hold(directory.GroupStream(id), s.Keys())
	}
	for id, s := range f.roles {
		hold(directory.RoleStream(id), s.Keys())
	}
	for id, s := range f.projects {
		hold(reporting.ProjectStream(id), s.Keys())
	}
	for id, s := range f.accessKeys {
		hold(directory.AccessKeyStream(id), s.Keys())
	}
	for id, s := range f.devices {
		if f.accessKeys[s.AccessKeyID].ID != (domain.ID{}) { // others the test put into the log without their claims
			hold(directory.DeviceStream(id), s.Keys())
		}
	}
	for id, s := range f.directories {
		hold(directory.UserDirectoryStream(id), s.Keys())
	}
	for id, s := range f.runs {
		hold(directory.SyncRunStream(id), s.Keys())
	}
	for id, s := range f.outputPorts {
		hold(printing.OutputPortStream(id), s.Keys())
	}
	for id, s := range f.inputPorts {
		hold(printing.InputPortStream(id), s.Keys())
	}
	require.NotEmpty(t, owners)

	claims := map[string]string{} // what a claim stream says in the end
	for _, r := range log {
		switch e := r.event.(type) {
		case commands.ClaimTaken:
			claims[r.Stream] = e.Kind + " " + e.Scope + " " + e.Owner
		case commands.ClaimReleased:
			delete(claims, r.Stream)
		}
	}
	claimed := map[string]int{}
	for _, c := range claims {
		claimed[c]++
	}
	require.Equal(t, held, claimed)
	t.Logf("%d unique values", len(owners))
}

// checkCounters counts the rows of all tables anew.
func checkCounters(t *testing.T, s *servertest.Server) {
	type counter struct{ table, columns string }
	counted := map[counter]map[string]int64{}
	checked := 0
	for _, g := range server.Groups() {
		schema := "rm_" + g.Name() + "."
		for _, table := range g.Tables() {
			counted[counter{strings.TrimPrefix(table, schema), ""}] = map[string]int64{}
		}
		got, err := s.Pools().Main.Query(t.Context(), "select table_name, key, n from "+g.Counters())
		require.NoError(t, err)
		var table, key string
		var n int64
		_, err = pgx.ForEachRow(got, []any{&table, &key, &n}, func() error {
			c := counter{table, columnsOf(key)}
			if counted[c] == nil {
				counted[c] = map[string]int64{}
			}
			counted[c][key] = n
			return nil
		})
		require.NoError(t, err)
		for c, want := range counted {
			key, group := "''", ""
			if c.columns != "" {
				var terms []string
				for i, column := range strings.Split(c.columns, "&") {
					terms = append(terms, fmt.Sprintf("'%s%s=' || coalesce(%s::text, '')", strings.Repeat("&", min(i, 1)), column, column))
				}
				key, group = strings.Join(terms, " || "), " group by 1"
			}
			got, err := s.Pools().Main.Query(t.Context(), "select "+key+"::text, count(*) from "+schema+c.table+group)
			require.NoError(t, err)
			rows := map[string]int64{}
			_, err = pgx.ForEachRow(got, []any{&key, &n}, func() error {
				if n > 0 {
					rows[key] = n
				}
				return nil
			})
			require.NoError(t, err)
			require.Equal(t, rows, want, "%s%s by %q", schema, c.table, c.columns)
			checked += len(rows)
		}
		clear(counted)
	}
	require.Greater(t, checked, 20)
}

// columnsOf are the columns of a counter's key.
func columnsOf(key string) string {
	var names []string
	for _, part := range strings.Split(key, "&") {
		if name, _, found := strings.Cut(part, "="); found {
			names = append(names, name)
		}
	}
	return strings.Join(names, "&")
}

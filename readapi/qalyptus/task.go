package qalyptus

import (
	"context"
	"time"

	"docket/domain"
	"docket/domain/reporting"
	"docket/internal/httpx"
	"docket/readapi/query"
)

// Task as this API shows it.
type Task struct {
	ID                     domain.ID       `json:"id" col:"id"`
	Name                   string          `json:"name" col:"name"`
	Description            string          `json:"description" col:"description"`
	Project                taskProject     `json:"project"`
	Organization           organizationRef `json:"organization"`
	Owner                  domain.ID       `json:"owner" col:"owner_id"`
	OwnerName              string          `json:"ownerName" col:"owner.name"`
	IsMine                 bool            `json:"isMine"`
	IsActive               bool            `json:"isActive" col:"is_active"`
	IsScheduled            bool            `json:"isScheduled" col:"is_scheduled"`
	TestMode               bool            `json:"testMode" col:"test_mode"`
	TestModeRecipients     string          `json:"testModeRecipients" col:"test_recipients"`
	SendNotifications      bool            `json:"sendNotifications" col:"send_notifications"`
	NotifyIfError          bool            `json:"notifyIfError" col:"notify_if_error"`
	NotifyIfWarning        bool            `json:"notifyIfWarning" col:"notify_if_warning"`
	NotifyIfSuccess        bool            `json:"notifyIfSuccess" col:"notify_if_success"`
	NotificationRecipients string          `json:"notificationRecipients" col:"notification_recipients"`
	NotificationCc         string          `json:"notificationCc" col:"notification_cc"`
	NotificationBcc        string          `json:"notificationBcc" col:"notification_bcc"`
	CreatedDate            time.Time       `json:"createdDate" col:"created_at"`
	ModifiedDate           time.Time       `json:"modifiedDate" col:"modified_at"`
}

type taskProject struct {
	ID   domain.ID `json:"id" col:"project_id"`
	Name string    `json:"name" col:"project_name"`
}

var tasks = query.MustDefine(query.Resource{
	Name: "task", Table: "rm_reporting.tasks", ScopeColumn: "organization_id",
	Joins: []query.Join{organizationJoin, ownerJoin},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Ops: query.Eq | query.Contains, Sortable: true},
		{Name: "description", Column: "description", Folded: "description_f", Ops: textOps, Sortable: true, Reversed: true},
		{Name: "project_id", Column: "project_id", Kind: query.UUID, Ops: query.Eq | query.In},
		{Name: "is_active", Aliases: []string{"enable", "isActive"}, Column: "is_active", Kind: query.Bool, Ops: query.Eq, Sortable: true},
		{Name: "is_scheduled", Aliases: []string{"scheduled", "isScheduled"}, Column: "is_scheduled", Kind: query.Bool, Ops: query.Eq, Sortable: true},
		{Name: "project", Aliases: []string{"project.name"}, Column: "project_name", Folded: "project_name_f", Sortable: true},
		{Name: "organization", Aliases: []string{"organization.name"}, Column: "name", Folded: "name_f", Join: "organization", Sortable: true},
		{Name: "testMode", Column: "test_mode", Kind: query.Bool, Sortable: true},
		{Name: "createdDate", Column: "created_at", Kind: query.Time, Sortable: true},
	},
	DefaultSort: query.Sort{Field: "name"},
	Indexes:     []string{"organization_id,name_f", "project_id,name_f"},
	Counters:    []string{"", "organization_id", "project_id", "is_active"},
})

// TaskShape reads tasks.
var TaskShape = query.MustShape[Task](tasks, query.Computed("isMine", appendIsMine, "owner_id"))

// TaskOf is a task as the command side knows it.
func TaskOf(t reporting.Task, n Names) Task {
	notify := t.Notifications
	return Task{ID: t.ID, Name: t.Name, Description: t.Description, Project: taskProject(n.ref(t.ProjectID)), Organization: organizationRef(n.ref(t.OrganizationID)),
		Owner: t.OwnerID, OwnerName: n.ref(t.OwnerID).Name, IsMine: n.mine(t.OwnerID), IsActive: t.Active, TestMode: t.TestMode, TestModeRecipients: t.TestRecipients,
		SendNotifications: notify.Send, NotifyIfError: notify.IfError, NotifyIfWarning: notify.IfWarning, NotifyIfSuccess: notify.IfSuccess,
		NotificationRecipients: notify.Recipients, NotificationCc: notify.Cc, NotificationBcc: notify.Bcc, CreatedDate: t.CreatedAt, ModifiedDate: t.ModifiedAt}
}

// Recipient of a task as this API shows it.
type Recipient struct {
	ID          domain.ID `json:"id" col:"id"`
	RecipientID domain.ID `json:"recipientID" col:"recipient_id"`
	Type        string    `json:"type" col:"type"`
	Name        string    `json:"name" col:"principal.name"`
	Email       string    `json:"email" col:"principal.email"`
	SendEmail   bool      `json:"sendEmail" col:"send_email"`
	SeeInHub    bool      `json:"seeInHub" col:"see_in_hub"`
}

var recipients = query.MustDefine(query.Resource{
	Name: "recipient", Table: "rm_reporting.task_recipients", ScopeColumn: "organization_id",
	Joins: []query.Join{{Name: "principal", Table: "rm_directory.principals", FK: "recipient_id", Required: true}},
	Fields: []query.Field{
		{Name: "name", Column: "name", Folded: "name_f", Join: "principal", Ops: textOps, Sortable: true},
		{Name: "email_address", Aliases: []string{"email"}, Column: "email", Folded: "email_f", Join: "principal", Ops: textOps, Sortable: true},
		{Name: "type", Column: "type", Exact: true, Ops: query.Eq, Sortable: true, Parse: userOrGroup},
		{Name: "sendEmail", Column: "send_email", Kind: query.Bool, Sortable: true},
		{Name: "seeInHub", Column: "see_in_hub", Kind: query.Bool, Sortable: true},
		{Name: "task", Column: "task_id", Kind: query.UUID, Ops: query.Eq, Hidden: true},
		{Name: "recipient", Column: "recipient_id", Kind: query.UUID, Ops: query.In, Hidden: true},
	},
	DefaultSort: query.Sort{Field: "name"},
	Indexes:     []string{"task_id"},
})

var recipientShape = query.MustShape[Recipient](recipients)

// RecipientOf is a recipient of a task as the command side knows it.
func RecipientOf(task domain.ID, r reporting.Recipient, n Names) Recipient {
	who := n.known[r.ID]
	return Recipient{ID: r.IDWithin(task), RecipientID: r.ID, Type: r.Type, Name: who.Name, Email: who.Email, SendEmail: r.SendEmail, SeeInHub: r.SeeInHub}
}

// Recipients reads some recipients of a task.
func (r *Reads) Recipients(ctx context.Context, task domain.ID, ids []domain.ID) ([]Recipient, error) {
	list, err := query.FetchAll(ctx, r.reader, recipientShape, query.Request{Scope: scopeOf(ctx),
		Filter: query.All(query.Equals("task", task), query.OneOf("recipient", ids...))})
	return append([]Recipient{}, list...), err // an empty list is no null
}

func registerTasks(r *Reads) {
	tags := []string{"Task"}
	covered := func(ctx context.Context) query.Expr { return withinProjects(ctx, "tasks.view", "project_id") }
	list(r, httpx.Op{ID: "137", Path: "/tasks", Summary: "Get tasks", Tags: tags, Permission: "tasks.view"}, TaskShape,
		func(ctx context.Context, _ *Listing) (query.Expr, error) { return covered(ctx), nil })
	get(r, httpx.Op{ID: "140", Path: "/tasks/{id}", Summary: "Get task by id", Tags: tags, Permission: "tasks.view"}, TaskShape, covered)
	list(r, httpx.Op{ID: "150", Path: "/tasks/{id}/recipients", Summary: "Get task recipients", Tags: tags, Permission: "tasks.view"}, recipientShape,
		func(ctx context.Context, in *Below) (query.Expr, error) {
			_, err := r.reader.Get(ctx, query.Request{Shape: TaskShape, Scope: scopeOf(ctx), Filter: covered(ctx)}, in.ID)
			return query.Equals("task", in.ID), err
		})
}

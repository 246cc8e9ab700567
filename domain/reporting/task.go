package reporting

import (
	"slices"
	"time"

	"docket/domain"
)

// TaskCreated adds a task to a project.
type TaskCreated struct {
	ID             domain.ID  `json:"id"`
	ProjectID      domain.ID  `json:"projectId"`
	OrganizationID domain.ID  `json:"organizationId"` // of the project
	OwnerID        domain.ID  `json:"ownerId"`
	Name           string     `json:"name"`
	Description    string     `json:"description"`
	CopyOf         *domain.ID `json:"copyOf,omitempty"` // task it was duplicated from
	CreatedAt      time.Time  `json:"createdAt"`
}

// TaskDetailsChanged replaces what describes a task.
type TaskDetailsChanged struct {
	ID          domain.ID `json:"id"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	At          time.Time `json:"at"`
}

// TaskActivated lets triggers fire a task.
type TaskActivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// TaskDeactivated makes triggers skip a task.
type TaskDeactivated struct {
	ID domain.ID `json:"id"`
	At time.Time `json:"at"`
}

// Notifications say who hears of a task's runs. Addresses stand as the client
// wrote them: a list separated by commas or semicolons.
type Notifications struct {
	Send       bool   `json:"send"`
	IfError    bool   `json:"ifError"`
	IfWarning  bool   `json:"ifWarning"`
	IfSuccess  bool   `json:"ifSuccess"`
	Recipients string `json:"recipients"`
	Cc         string `json:"cc"`
	Bcc        string `json:"bcc"`
}

// TaskNotificationsChanged replaces a task's notifications.
type TaskNotificationsChanged struct {
	ID            domain.ID     `json:"id"`
	Notifications Notifications `json:"notifications"`
	At            time.Time     `json:"at"`
}

// TaskTestModeChanged turns a task's test mode on or off: on, all mail goes to
// the test recipients alone.
type TaskTestModeChanged struct {
	ID         domain.ID `json:"id"`
	On         bool      `json:"on"`
	Recipients string    `json:"recipients"`
	At         time.Time `json:"at"`
}

// TaskDeleted ends a task.
type TaskDeleted struct {
	ID        domain.ID `json:"id"`
	ProjectID domain.ID `json:"projectId"`
	DeletedAt time.Time `json:"deletedAt"`
}

// Kinds of recipients.
const (
	RecipientUser  = "user"
	RecipientGroup = "group"
)

// Recipient gets what a task makes. Type and ID together identify it.
type Recipient struct {
	ID        domain.ID `json:"id"`   // of the user or group
	Type      string    `json:"type"` // RecipientUser or RecipientGroup
	SendEmail bool      `json:"sendEmail"`
	SeeInHub  bool      `json:"seeInHub"`
}

// Same tells whether two recipients are the same user or group.
func (r Recipient) Same(other Recipient) bool { return r.ID == other.ID && r.Type == other.Type }

// IDWithin is the id of a recipient's entry in a task's list, fixed by both.
func (r Recipient) IDWithin(task domain.ID) domain.ID {
	return domain.DerivedID(task, r.Type+r.ID.String())
}

// TaskRecipientsAdded gives a task more recipients.
type TaskRecipientsAdded struct {
	TaskID     domain.ID   `json:"taskId"`
	Recipients []Recipient `json:"recipients"`
	At         time.Time   `json:"at"`
}

// TaskRecipientChanged replaces the flags of one recipient.
type TaskRecipientChanged struct {
	TaskID    domain.ID `json:"taskId"`
	Recipient Recipient `json:"recipient"`
	At        time.Time `json:"at"`
}

// TaskRecipientsRemoved takes recipients from a task.
type TaskRecipientsRemoved struct {
	TaskID     domain.ID   `json:"taskId"`
	Recipients []Recipient `json:"recipients"`
	At         time.Time   `json:"at"`
}

func (TaskCreated) EventType() string              { return "reporting.task-created" }
func (TaskDetailsChanged) EventType() string       { return "reporting.task-details-changed" }
func (TaskActivated) EventType() string            { return "reporting.task-activated" }
func (TaskDeactivated) EventType() string          { return "reporting.task-deactivated" }
func (TaskNotificationsChanged) EventType() string { return "reporting.task-notifications-changed" }
func (TaskTestModeChanged) EventType() string      { return "reporting.task-test-mode-changed" }
func (TaskDeleted) EventType() string              { return "reporting.task-deleted" }
func (TaskRecipientsAdded) EventType() string      { return "reporting.task-recipients-added" }
func (TaskRecipientChanged) EventType() string     { return "reporting.task-recipient-changed" }
func (TaskRecipientsRemoved) EventType() string    { return "reporting.task-recipients-removed" }

// Task is a task as it is.
type Task struct {
	ID             domain.ID
	ProjectID      domain.ID
	OrganizationID domain.ID
	OwnerID        domain.ID
	Name           string
	Description    string
	Active         bool
	Notifications  Notifications
	TestMode       bool
	TestRecipients string
	Recipients     []Recipient
	CreatedAt      time.Time
	ModifiedAt     time.Time
	Live           bool
}

// Apply implements domain.State.
func (t Task) Apply(e domain.Event) Task {
	switch e := e.(type) {
	case TaskCreated:
		return Task{ID: e.ID, ProjectID: e.ProjectID, OrganizationID: e.OrganizationID, OwnerID: e.OwnerID, Name: e.Name, Description: e.Description,
			CreatedAt: e.CreatedAt, ModifiedAt: e.CreatedAt, Live: true}
	case TaskDetailsChanged:
		t.Name, t.Description, t.ModifiedAt = e.Name, e.Description, e.At
	case TaskActivated:
		t.Active, t.ModifiedAt = true, e.At
	case TaskDeactivated:
		t.Active, t.ModifiedAt = false, e.At
	case TaskNotificationsChanged:
		t.Notifications, t.ModifiedAt = e.Notifications, e.At
	case TaskTestModeChanged:
		t.TestMode, t.TestRecipients, t.ModifiedAt = e.On, e.Recipients, e.At
	case TaskRecipientsAdded:
		t.Recipients, t.ModifiedAt = slices.Concat(t.Recipients, e.Recipients), e.At
	case TaskRecipientChanged:
		t.Recipients, t.ModifiedAt = slices.Clone(t.Recipients), e.At
		if i := t.Find(e.Recipient); i >= 0 {
			t.Recipients[i] = e.Recipient
		}
	case TaskRecipientsRemoved:
		t.Recipients, t.ModifiedAt = without(t.Recipients, e.Recipients), e.At
	case TaskDeleted:
		t.Live = false
	}
	return t
}

// Find is the index of a recipient, -1 when the task has no such one.
func (t Task) Find(r Recipient) int { return slices.IndexFunc(t.Recipients, r.Same) }

func without(all, gone []Recipient) []Recipient {
	var left []Recipient
	for _, r := range all {
		if !slices.ContainsFunc(gone, r.Same) {
			left = append(left, r)
		}
	}
	return left
}

// Exists implements domain.State.
func (t Task) Exists() bool { return t.Live }

// Organizations implements domain.State.
func (t Task) Organizations() []domain.ID { return []domain.ID{t.OrganizationID} }

// Keys implements domain.State: names of tasks may repeat.
func (t Task) Keys() []domain.Key { return nil }

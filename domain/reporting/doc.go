// Package reporting holds what distributes reports: projects with their
// reports, and the tasks that generate and send them.
package reporting

import "docket/domain"

// ProjectStream and its like name streams. The part before the dash is the
// category the command bus knows.
func ProjectStream(id domain.ID) string { return "project-" + id.String() }
func TaskStream(id domain.ID) string    { return "task-" + id.String() }

// Events are all event types of reporting.
func Events() []domain.Event {
	return []domain.Event{
		ProjectPublished{}, ProjectDeleted{},
		TaskCreated{}, TaskDetailsChanged{}, TaskActivated{}, TaskDeactivated{}, TaskNotificationsChanged{}, TaskTestModeChanged{}, TaskDeleted{},
		TaskRecipientsAdded{}, TaskRecipientChanged{}, TaskRecipientsRemoved{},
	}
}

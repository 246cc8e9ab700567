package reporting

import (
	"encoding/json"
	"strings"
	"testing"

	"docket/commands"
	"docket/commands/rule"
	"docket/commands/spec"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"
	"docket/eventstore"
	"github.com/stretchr/testify/require"
)

var (
	toAnn   = reporting.Recipient{ID: ann, Type: reporting.RecipientUser, SendEmail: true}
	toBob   = reporting.Recipient{ID: bob, Type: reporting.RecipientUser, SeeInHub: true}
	toStaff = reporting.Recipient{ID: staff, Type: reporting.RecipientGroup, SendEmail: true, SeeInHub: true}
)

func recipients(list ...reporting.Recipient) []reporting.Recipient { return list }

// sentTo is a task with recipients.
func sentTo(list ...reporting.Recipient) []domain.Event {
	return []domain.Event{created(north), reporting.TaskRecipientsAdded{TaskID: task, Recipients: list, At: before}}
}

func strangers(n int) []reporting.Recipient {
	all := make([]reporting.Recipient, n)
	for i := range all {
		all[i] = reporting.Recipient{ID: id(uint32(0x1000 + i)), Type: reporting.RecipientUser}
	}
	return all
}

func TestAddRecipients(t *testing.T) {
	begin := given[reporting.Task](t, sentTo(toAnn)...).As(planner)
	begin.When(AddRecipients{task, recipients(toBob, toStaff)}).Then(reporting.TaskRecipientsAdded{TaskID: task, Recipients: recipients(toBob, toStaff), At: spec.Now})
	begin.When(AddRecipients{task, nil}).ThenNothing()
	begin.When(AddRecipients{task, recipients(
		toBob,
		reporting.Recipient{ID: id(9), Type: "user"},
		reporting.Recipient{ID: zoe, Type: "user"}, // of an organization that is not seen
		reporting.Recipient{ID: labGroup, Type: "group"},
		reporting.Recipient{ID: staff, Type: "Group"},
		reporting.Recipient{ID: bob, Type: "user", SendEmail: true},
		reporting.Recipient{ID: ann, Type: "group"},
	)}).ThenFault(fault.Invalid, "[1].id", "[2].id", "[3].id", "[4].type", "[5].id", "[6].id")
	// Seen, but not of the project's organization.
	given[reporting.Task](t, created(north)).When(AddRecipients{task, recipients(reporting.Recipient{ID: zoe, Type: "user"}, reporting.Recipient{ID: labGroup, Type: "group"})}).
		ThenFault(fault.Invalid, "[0].id", "[1].id")
	begin.When(AddRecipients{task, recipients(toBob, reporting.Recipient{ID: ann, Type: "user"})}).ThenFault(fault.Conflict, "[1].id")
	begin.When(AddRecipients{task, strangers(MaxRecipientsAtOnce + 1)}).ThenFault(fault.Invalid, "recipients")
	given[reporting.Task](t, sentTo(strangers(MaxRecipients)...)...).As(planner).When(AddRecipients{task, recipients(toBob)}).ThenFault(fault.Invalid, "recipients")
	given[reporting.Task](t, sentTo(strangers(MaxRecipients-1)...)...).As(planner).When(AddRecipients{task, recipients(toBob)}).
		Then(reporting.TaskRecipientsAdded{TaskID: task, Recipients: recipients(toBob), At: spec.Now})
}

func TestUpdateRecipient(t *testing.T) {
	begin := given[reporting.Task](t, sentTo(toAnn, toStaff)...).As(planner)
	changed := reporting.Recipient{ID: ann, Type: "user", SeeInHub: true}
	begin.When(UpdateRecipient{task, changed}).Then(reporting.TaskRecipientChanged{TaskID: task, Recipient: changed, At: spec.Now})
	begin.When(UpdateRecipient{task, toAnn}).ThenNothing()
	begin.When(UpdateRecipient{task, toBob}).ThenFault(fault.NotFound, "id")
	begin.When(UpdateRecipient{task, reporting.Recipient{ID: ann, Type: "group"}}).ThenFault(fault.NotFound, "id")
	begin.When(UpdateRecipient{task, reporting.Recipient{ID: ann, Type: "USER"}}).ThenFault(fault.Invalid, "type")
}

func TestRemoveRecipients(t *testing.T) {
	begin := given[reporting.Task](t, sentTo(toAnn, toBob, toStaff)...).As(planner)
	plain := reporting.Recipient{ID: ann, Type: "user"}
	begin.When(RemoveRecipients{task, recipients(toStaff, plain, toAnn)}).Then(reporting.TaskRecipientsRemoved{TaskID: task, Recipients: recipients(toStaff, toAnn), At: spec.Now})
	begin.When(RemoveRecipients{task, nil}).ThenNothing()
	begin.When(RemoveRecipients{task, recipients(toAnn, reporting.Recipient{ID: zoe, Type: "user"}, reporting.Recipient{ID: ann, Type: "group"})}).ThenFault(fault.NotFound, "[1].id", "[2].id")
	begin.When(RemoveRecipients{task, recipients(toAnn, reporting.Recipient{ID: zoe, Type: "users"})}).ThenFault(fault.Invalid, "[1].type")
	begin.When(RemoveRecipients{task, strangers(MaxRecipientsAtOnce + 1)}).ThenFault(fault.Invalid, "recipients")
}

// TestCopyFitsOneAppend: the most recipients that a task can have, and texts as
// long as they may be, leave room for metadata in what the store takes at once.
func TestCopyFitsOneAppend(t *testing.T) {
	all := make([]reporting.Recipient, MaxRecipients)
	for i := range all {
		all[i] = reporting.Recipient{ID: id(uint32(i)), Type: reporting.RecipientGroup}
	}
	addresses := strings.Repeat("a@xx.org;", rule.MaxAddresses/9)
	source := domain.Fold(reporting.Task{}, sentTo(all...)...)
	source.Notifications = reporting.Notifications{Recipients: addresses, Cc: addresses, Bcc: addresses}
	source.TestRecipients, source.Description = addresses, strings.Repeat("€", rule.MaxDescription)
	env, err := commands.Gather(DuplicateTask{ID: other, SourceID: task}, reporting.Task{}, commands.Env{Actor: domain.System(sales), Now: spec.Now}, func(r commands.Ref) (any, error) {
		if r.Stream() == reporting.TaskStream(task) {
			return source, nil
		}
		return reporting.Project{}.Apply(published(north, sales)), nil
	})
	require.NoError(t, err)
	events, err := DuplicateTask{ID: other, SourceID: task}.Decide(reporting.Task{}, env)
	require.NoError(t, err)
	require.Len(t, events, 4)
	size := 0
	for _, e := range events {
		data, err := json.Marshal(e)
		require.NoError(t, err)
		size += len(data) + 2_000 // for metadata
	}
	require.Less(t, size, eventstore.MaxAppendBytes)
}

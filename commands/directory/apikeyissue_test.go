package directory

import (
	"testing"
	"time"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

func TestIssueAPIKey(t *testing.T) {
	day := 24 * time.Hour
	keeper := clerk
	keeper.Permissions = permissions("apiKeys.manageAll", "tasks.view")
	// Settings give everybody nothing, unless a test says so.
	begin := func(u directory.UserCreated, everyone ...domain.ID) spec.Scenario[directory.APIKey] {
		return given[directory.APIKey](t).As(keeper).
			Ref(directory.UserStream(ann), directory.User{}.Apply(u)).
			Ref(directory.GroupSettingsStream(directory.GlobalID), directory.GroupSettings{}).
			Ref(directory.GroupSettingsStream(sales), directory.GroupSettings{EveryoneRoles: everyone}).
			Ref(directory.GroupSettingsStream(lab), directory.GroupSettings{}).
			Ref(directory.GroupSettingsStream(gone), directory.GroupSettings{})
	}
	cmd := IssueAPIKey{ID: key, UserID: ann, Details: Details{" K ", "d"}, Hash: []byte{1}, ExpiresAt: spec.Now.Add(day), MaxLife: day}
	created := directory.APIKeyCreated{ID: key, UserID: ann, OrganizationID: sales, Name: "K", Description: "d", Hash: []byte{1}, ExpiresAt: spec.Now.Add(day), CreatedAt: spec.Now}
	begin(user(ann, sales)).When(cmd).Then(created)
	begin(user(ann, directory.GlobalID, sales)).When(cmd).Then(created)
	// A member of the root works in everything below it.
	above := begin(user(ann, directory.GlobalID))
	above.As(domain.Actor{UserID: me, Tenant: sales, Unrestricted: true, Permissions: keeper.Permissions}).When(cmd).Then(created)

	begin(user(ann, sales)).When(with(cmd, func(c *IssueAPIKey) { c.OrganizationID = lab })).ThenFault(fault.Invalid, "organizationId")
	begin(user(ann, sales)).When(with(cmd, func(c *IssueAPIKey) { c.OrganizationID = gone })).ThenFault(fault.Invalid, "organizationId")
	begin(user(ann, lab)).When(cmd).ThenFault(fault.Invalid, "userId")
	begin(recipient(ann, sales)).When(cmd).ThenFault(fault.Invalid, "userId")
	begin(with(user(ann, sales), func(u *directory.UserCreated) { u.Active = false })).When(cmd).ThenFault(fault.Invalid, "userId")
	begin(user(ann, sales)).When(with(cmd, func(c *IssueAPIKey) { c.Details, c.ExpiresAt = Details{}, spec.Now })).ThenFault(fault.Invalid, "name", "expiryDate")
	begin(user(ann, sales)).When(with(cmd, func(c *IssueAPIKey) { c.ExpiresAt = spec.Now.Add(day + 1) })).ThenFault(fault.Invalid, "expiryDate")

	// Rights that the issuer lacks: of a role, of a group, of everybody.
	begin(with(user(ann, sales), func(u *directory.UserCreated) { u.Roles = ids(boss) })).When(cmd).ThenFault(fault.Denied, "userId")
	begin(with(user(ann, sales), func(u *directory.UserCreated) { u.Groups = ids(chief) })).When(cmd).ThenFault(fault.Denied, "userId")
	begin(user(ann, sales), boss).When(cmd).ThenFault(fault.Denied, "userId")
}

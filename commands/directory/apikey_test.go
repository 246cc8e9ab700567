package directory

import (
	"testing"
	"time"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

func apiKey(owner domain.ID) directory.APIKeyCreated {
	return directory.APIKeyCreated{ID: key, UserID: owner, OrganizationID: sales, Name: "K", Description: "d", Hash: []byte{1}, ExpiresAt: spec.Now.Add(time.Hour), CreatedAt: before}
}

func TestCreateAPIKey(t *testing.T) {
	begin := given[directory.APIKey](t).As(clerk)
	day := 24 * time.Hour
	cmd := CreateAPIKey{ID: key, Details: Details{" K ", "d"}, Hash: []byte{1}, ExpiresAt: spec.Now.Add(180 * day).In(time.FixedZone("", 3600)), MaxLife: 180 * day}
	created := directory.APIKeyCreated{ID: key, UserID: me, OrganizationID: sales, Name: "K", Description: "d", Hash: []byte{1}, ExpiresAt: spec.Now.Add(180 * day), CreatedAt: spec.Now}
	begin.When(cmd).Then(created)
	begin.When(CreateAPIKey{ID: key, Details: Details{"", long}, ExpiresAt: spec.Now, MaxLife: day}).ThenFault(fault.Invalid, "name", "description", "expiryDate")
	begin.When(with(cmd, func(c *CreateAPIKey) { c.ExpiresAt = c.ExpiresAt.Add(1) })).ThenFault(fault.Invalid, "expiryDate")
	begin.When(with(cmd, func(c *CreateAPIKey) { c.ExpiresAt = c.ExpiresAt.Add(-1) })).
		Then(with(created, func(e *directory.APIKeyCreated) { e.ExpiresAt = e.ExpiresAt.Add(-time.Microsecond) }))
	begin.At(spec.Now.Add(-1)).When(cmd).ThenFault(fault.Invalid, "expiryDate")
	asRecipient := clerk
	asRecipient.UserID = bob
	begin.As(asRecipient).When(cmd).ThenFault(fault.Denied)
	given[directory.APIKey](t).When(cmd).ThenFault(fault.Denied) // the system is no user
	given[directory.APIKey](t, created).As(clerk).When(cmd).ThenFault(fault.Conflict)
}

func TestOwnAPIKeys(t *testing.T) {
	own, foreign := given[directory.APIKey](t, apiKey(me)).As(clerk), given[directory.APIKey](t, apiKey(ann)).As(clerk)
	revoked := directory.APIKeyRevoked{ID: key, At: spec.Now}
	own.When(UpdateAPIKey{key, Details{"K", "d"}}).ThenNothing()
	own.When(UpdateAPIKey{key, Details{" L", ""}}).Then(directory.APIKeyDetailsChanged{ID: key, Name: "L", At: spec.Now})
	own.When(UpdateAPIKey{key, Details{"", long}}).ThenFault(fault.Invalid, "name", "description")
	own.When(RevokeAPIKey{key}).Then(revoked)
	foreign.When(UpdateAPIKey{key, Details{"L", ""}}).ThenFault(fault.NotFound)
	foreign.When(RevokeAPIKey{key}).ThenFault(fault.NotFound)
	ended := given[directory.APIKey](t, apiKey(me), revoked).As(clerk)
	ended.When(UpdateAPIKey{key, Details{"L", ""}}).ThenFault(fault.NotFound)
	ended.When(RevokeAPIKey{key}).ThenFault(fault.NotFound)
}

func TestRevokeAPIKeyAdmin(t *testing.T) {
	revoked := directory.APIKeyRevoked{ID: key, At: spec.Now}
	given[directory.APIKey](t, apiKey(ann)).When(RevokeAPIKeyAdmin{key}).Then(revoked)
	given[directory.APIKey](t, apiKey(ann), revoked).When(RevokeAPIKeyAdmin{key}).ThenFault(fault.NotFound)
	given[directory.APIKey](t).When(RevokeAPIKeyAdmin{key}).ThenFault(fault.NotFound)
}

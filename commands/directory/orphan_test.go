package directory

import (
	"testing"

	"docket/commands/spec"
	"docket/domain/directory"
	"docket/domain/fault"
)

func TestRevokeOrphanedKey(t *testing.T) {
	revoked := directory.APIKeyRevoked{ID: key, At: spec.Now}
	begin := given[directory.APIKey](t, apiKey(me))
	begin.When(RevokeOrphanedKey{key}).ThenNothing()
	ownerless := begin.Ref(directory.UserStream(me), directory.User{})
	ownerless.When(RevokeOrphanedKey{key}).Then(revoked)
	begin.Ref(directory.OrganizationStream(sales), directory.Organization{}).When(RevokeOrphanedKey{key}).Then(revoked)
	operator := clerk
	operator.Everything = true
	ownerless.As(operator).When(RevokeOrphanedKey{key}).ThenFault(fault.Denied)
	given[directory.APIKey](t, apiKey(me), revoked).When(RevokeOrphanedKey{key}).ThenNothing()
	given[directory.APIKey](t).When(RevokeOrphanedKey{key}).ThenNothing()
}

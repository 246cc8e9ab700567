package directory

import (
	"testing"

	"docket/commands/spec"
	"docket/domain/directory"
	"docket/domain/fault"
)

func TestCreateOrganization(t *testing.T) {
	theme, north := id(0x200), id(0x201)
	begin := given[directory.Organization](t).As(clerk)
	created := directory.OrganizationCreated{ID: north, Number: spec.Number, ParentID: &sales, Ancestors: ids(directory.GlobalID, sales), Name: "north", DisplayName: "The North",
		Description: "d", ThemeID: &theme, CreatedAt: spec.Now}
	cmd := CreateOrganization{ID: north, Details: OrganizationDetails{" north ", " The North ", "d", &theme}}
	begin.When(cmd).Then(created)
	begin.When(with(cmd, func(c *CreateOrganization) { c.ParentID, c.Details.Name = sales, "" })).
		Then(with(created, func(e *directory.OrganizationCreated) { e.Name = "The North" }))
	given[directory.Organization](t).When(with(cmd, func(c *CreateOrganization) { c.ParentID = sales })).Then(created)

	begin.When(CreateOrganization{ID: north, ParentID: lab, Details: OrganizationDetails{"a\nb", " ", long, nil}}).
		ThenFault(fault.Invalid, "displayName", "name", "description", "parentId")
	given[directory.Organization](t).When(with(cmd, func(c *CreateOrganization) { c.ParentID = gone })).ThenFault(fault.Invalid, "parentId")
	deep := directory.Organization{}.Apply(with(organization(sales, "Sales"), func(o *directory.OrganizationCreated) { o.Ancestors = many(maxDepth - 1) }))
	begin.Ref(directory.OrganizationStream(sales), deep).When(cmd).ThenFault(fault.Invalid, "parentId")
	given[directory.Organization](t, created).As(clerk).When(cmd).ThenFault(fault.Conflict)
}

func TestUpdateOrganization(t *testing.T) {
	theme := id(0x200)
	begin := given[directory.Organization](t, with(organization(sales, "Sales"), func(o *directory.OrganizationCreated) { o.ThemeID = &theme })).As(clerk)
	other := theme
	begin.When(UpdateOrganization{sales, OrganizationDetails{"Sales", "Sales", "", &other}}).ThenNothing()
	begin.When(UpdateOrganization{sales, OrganizationDetails{"", "Sales", "", &other}}).ThenNothing()
	begin.When(UpdateOrganization{sales, OrganizationDetails{"s", "S", "d", nil}}).
		Then(directory.OrganizationChanged{ID: sales, Name: "s", DisplayName: "S", Description: "d", ChangedAt: spec.Now})
	begin.When(UpdateOrganization{sales, OrganizationDetails{"", "Sales", "", &sales}}).
		Then(directory.OrganizationChanged{ID: sales, Name: "Sales", DisplayName: "Sales", ThemeID: &sales, ChangedAt: spec.Now})
	begin.When(UpdateOrganization{ID: sales}).ThenFault(fault.Invalid, "displayName")
	given[directory.Organization](t).When(UpdateOrganization{ID: sales}).ThenFault(fault.NotFound)
	given[directory.Organization](t, global()).When(UpdateOrganization{directory.GlobalID, OrganizationDetails{DisplayName: "X"}}).ThenFault(fault.Conflict)
}

func TestDeleteOrganization(t *testing.T) {
	deleted := directory.OrganizationDeleted{ID: sales, DeletedAt: spec.Now}
	given[directory.Organization](t, organization(sales, "Sales")).As(clerk).When(DeleteOrganization{sales}).Then(deleted)
	given[directory.Organization](t, organization(sales, "Sales"), deleted).When(DeleteOrganization{sales}).ThenFault(fault.NotFound)
	given[directory.Organization](t).When(DeleteOrganization{sales}).ThenFault(fault.NotFound)
	given[directory.Organization](t, global()).When(DeleteOrganization{directory.GlobalID}).ThenFault(fault.Conflict)
}

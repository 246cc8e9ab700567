package directory

import (
	"slices"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// maxDepth is how deep the tree of organizations may be: who sees what is
// computed from the ancestors that every organization lists.
const maxDepth = 32

// OrganizationDetails describe an organization. Without a name the display name
// serves for a new one; an existing one keeps its name.
type OrganizationDetails struct {
	Name        string
	DisplayName string
	Description string
	ThemeID     *domain.ID
}

func (d OrganizationDetails) check(v *verdict, name string) OrganizationDetails {
	d.DisplayName = rule.Name(&v.Problems, "displayName", d.DisplayName)
	d.Name = rule.Line(&v.Problems, "name", d.Name, rule.MaxName)
	if d.Name == "" {
		d.Name = name
	}
	if d.Name == "" {
		d.Name = d.DisplayName
	}
	d.Description = rule.Description(&v.Problems, "description", d.Description)
	return d
}

// CreateOrganization adds an organization below another. Problems: name,
// displayName, description, parentId.
type CreateOrganization struct {
	ID       domain.ID
	ParentID domain.ID // zero: the one the actor works in
	Details  OrganizationDetails
}

func (c CreateOrganization) Name() string       { return "directory.create-organization" }
func (c CreateOrganization) Stream() string     { return directory.OrganizationStream(c.ID) }
func (c CreateOrganization) Permission() string { return "organizations.create" }
func (c CreateOrganization) NumberKind() string { return "organization" }

// Explore implements commands.Exploring: the parent may be the actor's.
func (c CreateOrganization) Explore(_ directory.Organization, env commands.Env) []commands.Ref {
	return organizationRefs(orTenant(env.Actor, c.ParentID))
}

// Decide implements commands.Command.
func (c CreateOrganization) Decide(o directory.Organization, env commands.Env) ([]domain.Event, error) {
	if o.ID != (domain.ID{}) {
		return nil, exists("organization", c.ID)
	}
	v := &verdict{env: env}
	details := c.Details.check(v, "")
	parentID := v.organization("parentId", c.ParentID)
	parent := looked[directory.Organization](env, directory.OrganizationStream(parentID))
	v.Check(len(parent.Ancestors) < maxDepth-1, "parentId", "is too deep in the tree for more below it")
	if err := v.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{directory.OrganizationCreated{
		ID: c.ID, Number: env.Number, ParentID: &parentID, Ancestors: slices.Concat(parent.Ancestors, []domain.ID{parentID}),
		Name: details.Name, DisplayName: details.DisplayName, Description: details.Description, ThemeID: details.ThemeID, CreatedAt: env.Now,
	}}, nil
}

// UpdateOrganization changes what describes an organization. Problems: name,
// displayName, description.
type UpdateOrganization struct {
	ID      domain.ID
	Details OrganizationDetails
}

func (c UpdateOrganization) Name() string       { return "directory.update-organization" }
func (c UpdateOrganization) Stream() string     { return directory.OrganizationStream(c.ID) }
func (c UpdateOrganization) Permission() string { return "organizations.edit" }

// Decide implements commands.Command.
func (c UpdateOrganization) Decide(o directory.Organization, env commands.Env) ([]domain.Event, error) {
	if err := organizationStays(c.ID, o); err != nil {
		return nil, err
	}
	v := &verdict{env: env}
	d := c.Details.check(v, o.Name)
	if err := v.Err(); err != nil {
		return nil, err
	}
	if d.Name == o.Name && d.DisplayName == o.DisplayName && d.Description == o.Description && sameTheme(d.ThemeID, o.ThemeID) {
		return nil, nil
	}
	return []domain.Event{directory.OrganizationChanged{
		ID: c.ID, Name: d.Name, DisplayName: d.DisplayName, Description: d.Description, ThemeID: d.ThemeID, ChangedAt: env.Now,
	}}, nil
}

func sameTheme(a, b *domain.ID) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// DeleteOrganization ends an organization. The caller makes sure that nothing
// is in it any more: that takes a look across all aggregates.
type DeleteOrganization struct{ ID domain.ID }

func (c DeleteOrganization) Name() string       { return "directory.delete-organization" }
func (c DeleteOrganization) Stream() string     { return directory.OrganizationStream(c.ID) }
func (c DeleteOrganization) Permission() string { return "organizations.delete" }

// Decide implements commands.Command.
func (c DeleteOrganization) Decide(o directory.Organization, env commands.Env) ([]domain.Event, error) {
	if err := organizationStays(c.ID, o); err != nil {
		return nil, err
	}
	return []domain.Event{directory.OrganizationDeleted{ID: c.ID, DeletedAt: env.Now}}, nil
}

// organizationStays refuses to change the root and organizations that are not there.
func organizationStays(id domain.ID, o directory.Organization) error {
	if !o.Exists() {
		return fault.Missing("organization", id)
	}
	if o.System() {
		return system("organization", o.DisplayName)
	}
	return nil
}

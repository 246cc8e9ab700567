package reporting

import (
	"strings"
	"testing"
	"time"

	"docket/commands/spec"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/reporting"
)

// Ids of the tests. Sales and Lab are organizations, North and South projects.
var (
	sales, lab, gone      = id(0x100), id(0x101), id(0x102)
	me, ann, bob, zoe     = id(0x110), id(0x111), id(0x112), id(0x113)
	staff, labGroup       = id(0x120), id(0x121)
	north, south, deleted = id(0x140), id(0x141), id(0x142)
	task, other           = id(0x160), id(0x161)
	before                = spec.Now.Add(-time.Hour)
	long                  = strings.Repeat("x", 2001)
)

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

// planner works in Sales and sees nothing else.
var planner = domain.Actor{UserID: me, Tenant: sales, Organizations: []domain.ID{sales},
	Permissions: map[string]bool{"projects.create": true, "projects.delete": true, "tasks.create": true, "tasks.edit": true, "tasks.delete": true}}

// southerner's rights are limited to another project of Sales.
var southerner = func() domain.Actor {
	a := planner
	a.Projects = []domain.ID{south}
	return a
}()

func published(id, organization domain.ID) reporting.ProjectPublished {
	return reporting.ProjectPublished{ID: id, OrganizationID: organization, OwnerID: me, Name: "P", Reports: []reporting.Report{}, PublishedAt: before}
}

func created(project domain.ID) reporting.TaskCreated {
	return reporting.TaskCreated{ID: task, ProjectID: project, OrganizationID: sales, OwnerID: ann, Name: "Task", Description: "d", CreatedAt: before}
}

// given is a scenario in which all aggregates of the tests are there.
func given[S domain.State[S]](t *testing.T, events ...domain.Event) spec.Scenario[S] {
	s := spec.Given[S](t, events...)
	for id, name := range map[domain.ID]string{sales: "Sales", lab: "Lab"} {
		s = s.Ref(directory.OrganizationStream(id), directory.Organization{}.Apply(directory.OrganizationCreated{ID: id, Name: name}))
	}
	for p, o := range map[domain.ID]domain.ID{north: sales, south: sales, deleted: sales, id(0x143): lab} {
		s = s.Ref(reporting.ProjectStream(p), reporting.Project{}.Apply(published(p, o)))
	}
	s = s.Ref(reporting.ProjectStream(deleted), reporting.Project{}.Apply(published(deleted, sales)).Apply(reporting.ProjectDeleted{ID: deleted}))
	for u, in := range map[domain.ID][]domain.ID{ann: {sales}, bob: {lab, sales}, zoe: {lab}} {
		s = s.Ref(directory.UserStream(u), directory.User{}.Apply(directory.UserCreated{ID: u, Organizations: in}))
	}
	for g, o := range map[domain.ID]domain.ID{staff: sales, labGroup: lab} {
		s = s.Ref(directory.GroupStream(g), directory.Group{}.Apply(directory.GroupCreated{ID: g, OrganizationID: o}))
	}
	return s
}

// with changes a command or event.
func with[E any](e E, change func(*E)) E {
	change(&e)
	return e
}

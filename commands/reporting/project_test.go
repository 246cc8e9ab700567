package reporting

import (
	"fmt"
	"strings"
	"testing"

	"docket/commands/spec"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
	"github.com/stretchr/testify/require"
)

func TestPublishProject(t *testing.T) {
	begin := given[reporting.Project](t).As(planner)
	template := &reporting.Blob{SHA256: strings.Repeat("0a", 32), Name: "t.xlsx", Size: 7}
	cmd := PublishProject{ID: north, Details: Details{" North ", "d"}, Reports: []reporting.Report{
		{ID: id(1), Name: " Sales ", Description: "r", Type: "Excel", OutputFormats: []string{"Pdf", "Xlsx", "Pdf"}, Template: template},
		{ID: id(2), Name: "Page", Type: "Html"},
	}}
	event := reporting.ProjectPublished{ID: north, OrganizationID: sales, OwnerID: me, Name: "North", Description: "d", PublishedAt: spec.Now, Reports: []reporting.Report{
		{ID: id(1), Name: "Sales", Description: "r", Type: "Excel", OutputFormats: []string{"Pdf", "Xlsx"}, Template: template},
		{ID: id(2), Name: "Page", Type: "Html", OutputFormats: []string{"Html", "Pdf"}},
	}}
	begin.When(cmd).Then(event)
	begin.When(with(cmd, func(c *PublishProject) { c.OrganizationID, c.Reports = sales, nil })).
		Then(with(event, func(e *reporting.ProjectPublished) { e.Reports = []reporting.Report{} }))

	begin.When(PublishProject{ID: north, OrganizationID: lab, Details: Details{" ", long}, Reports: []reporting.Report{
		{ID: id(1), Name: "A", Type: "Excel"},
		{ID: id(1), Name: " a", Type: "Excel", OutputFormats: []string{"Xlsx", "Docx"}},
		{Name: "", Description: long, Type: "excel", Template: &reporting.Blob{SHA256: "x", Name: " t", Size: -1}},
	}}).ThenFault(fault.Invalid, "name", "description", "organizationId", "reports[1].id", "reports[1].name", "reports[1].outputFormats[1]",
		"reports[2].id", "reports[2].name", "reports[2].description", "reports[2].type", "reports[2].template.sha256", "reports[2].template.size", "reports[2].template.name")
	begin.When(with(cmd, func(c *PublishProject) { c.OrganizationID = gone })).ThenFault(fault.Invalid, "organizationId")
	many := make([]reporting.Report, MaxReports+1)
	for i := range many {
		many[i] = reporting.Report{ID: id(uint32(i + 1)), Name: fmt.Sprint(i), Type: "Word"}
	}
	begin.When(with(cmd, func(c *PublishProject) { c.Reports = many })).ThenFault(fault.Invalid, "reports")
	given[reporting.Project](t, event).As(planner).When(cmd).ThenFault(fault.Conflict)
}

func TestDeleteProject(t *testing.T) {
	event := reporting.ProjectDeleted{ID: north, DeleteFiles: true, DeletedAt: spec.Now}
	given[reporting.Project](t, published(north, sales)).As(planner).When(DeleteProject{north, true}).Then(event)
	given[reporting.Project](t, published(north, sales), event).As(planner).When(DeleteProject{north, true}).ThenFault(fault.NotFound)
	given[reporting.Project](t, published(north, sales)).As(southerner).When(DeleteProject{north, true}).ThenFault(fault.NotFound)
	given[reporting.Project](t).As(planner).When(DeleteProject{north, true}).ThenFault(fault.NotFound)
}

func TestPermissions(t *testing.T) {
	for name, permission := range Permissions() {
		require.True(t, directory.KnownPermission(permission), "%s needs %q", name, permission)
	}
}

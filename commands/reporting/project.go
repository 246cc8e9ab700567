package reporting

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"docket/commands"
	"docket/commands/rule"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/domain/reporting"
)

// MaxReports is how many reports a project holds at most.
const MaxReports = 1_000

// Details describe a project or task.
type Details struct {
	Name        string
	Description string
}

func (d Details) check(p *fault.Problems) Details {
	return Details{Name: rule.Name(p, "name", d.Name), Description: rule.Description(p, "description", d.Description)}
}

// PublishProject adds a project with its reports, owned by the actor. Problems:
// name, description, organizationId, reports, reports[i].id, .name,
// .description, .type, .outputFormats[j], .template.
type PublishProject struct {
	ID             domain.ID
	OrganizationID domain.ID // zero: the one the actor works in
	Details        Details
	Reports        []reporting.Report // ids are made by the caller; no output formats means all of the type
}

func (c PublishProject) Name() string       { return "reporting.publish-project" }
func (c PublishProject) Stream() string     { return reporting.ProjectStream(c.ID) }
func (c PublishProject) Permission() string { return "projects.create" }

// Explore implements commands.Exploring: the organization may be the actor's.
func (c PublishProject) Explore(_ reporting.Project, env commands.Env) []commands.Ref {
	return []commands.Ref{commands.RefTo[directory.Organization](directory.OrganizationStream(c.organization(env)))}
}

func (c PublishProject) organization(env commands.Env) domain.ID {
	if c.OrganizationID == (domain.ID{}) {
		return env.Actor.Tenant
	}
	return c.OrganizationID
}

// Decide implements commands.Command.
func (c PublishProject) Decide(p reporting.Project, env commands.Env) ([]domain.Event, error) {
	if p.ID != (domain.ID{}) {
		return nil, fault.New(fault.Conflict, "project.exists", "project %s exists already or did", c.ID)
	}
	var problems fault.Problems
	details := c.Details.check(&problems)
	organization := c.organization(env)
	problems.Check(visible(env, commands.Lookup[directory.Organization](env, directory.OrganizationStream(organization))), "organizationId", "does not exist")
	reports := checkReports(&problems, c.Reports)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return []domain.Event{reporting.ProjectPublished{
		ID: c.ID, OrganizationID: organization, OwnerID: env.Actor.UserID, Name: details.Name, Description: details.Description, Reports: reports, PublishedAt: env.Now,
	}}, nil
}

// checkReports returns the reports in their normal form.
func checkReports(p *fault.Problems, reports []reporting.Report) []reporting.Report {
	kept := make([]reporting.Report, 0, min(len(reports), MaxReports))
	if len(reports) > MaxReports {
		p.Add("reports", "must not hold more than %d entries", MaxReports)
		return kept
	}
	names, ids := make(map[string]bool), make(map[domain.ID]bool)
	for i, r := range reports {
		at := fmt.Sprintf("reports[%d].", i)
		p.Check(r.ID != domain.ID{} && !ids[r.ID], at+"id", "must be an id of its own")
		ids[r.ID] = true
		r.Name = rule.Name(p, at+"name", r.Name)
		name := domain.Normal(r.Name)
		p.Check(name == "" || !names[name], at+"name", "is the name of another report of the project")
		names[name] = true
		r.Description = rule.Description(p, at+"description", r.Description)
		r.OutputFormats = checkFormats(p, at, r)
		checkTemplate(p, at+"template", r.Template)
		kept = append(kept, r)
	}
	return kept
}

func checkFormats(p *fault.Problems, at string, r reporting.Report) []string {
	known := reporting.Formats(r.Type)
	if known == nil {
		p.Add(at+"type", "must be one of %s", strings.Join(reporting.ReportTypes(), ", "))
		return nil
	}
	if len(r.OutputFormats) == 0 {
		return slices.Clone(known)
	}
	var formats []string
	for j, f := range r.OutputFormats {
		if !slices.Contains(known, f) {
			p.Add(fmt.Sprintf("%soutputFormats[%d]", at, j), "must be one of %s", strings.Join(known, ", "))
		} else if !slices.Contains(formats, f) {
			formats = append(formats, f)
		}
	}
	return formats
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func checkTemplate(p *fault.Problems, path string, b *reporting.Blob) {
	if b == nil {
		return
	}
	p.Check(sha256Hex.MatchString(b.SHA256), path+".sha256", "must be a SHA-256 in lower-case hexadecimal")
	p.Check(b.Size >= 0, path+".size", "must not be negative")
	p.Check(rule.Name(p, path+".name", b.Name) == b.Name, path+".name", "must not begin or end with blanks")
}

// DeleteProject ends a project with its reports and tasks.
type DeleteProject struct {
	ID          domain.ID
	DeleteFiles bool // what its tasks published to the hub goes too
}

func (c DeleteProject) Name() string       { return "reporting.delete-project" }
func (c DeleteProject) Stream() string     { return reporting.ProjectStream(c.ID) }
func (c DeleteProject) Permission() string { return "projects.delete" }

// Decide implements commands.Command.
func (c DeleteProject) Decide(p reporting.Project, env commands.Env) ([]domain.Event, error) {
	if !p.Exists() || !env.Actor.SeesProject(c.ID) {
		return nil, fault.Missing("project", c.ID)
	}
	if err := covered(env, c.Permission(), c.ID); err != nil {
		return nil, err
	}
	return []domain.Event{reporting.ProjectDeleted{ID: c.ID, DeleteFiles: c.DeleteFiles, DeletedAt: env.Now}}, nil
}

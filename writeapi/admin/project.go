package admin

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/reporting"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/reporting"
	"docket/internal/httpx"

	"github.com/google/uuid"
)

// maxDocument is the largest project document: 1,000 reports with long
// descriptions fit.
const maxDocument = 8 << 20

// document is a project as it is published.
type document struct {
	Name           string       `json:"name" minLength:"1"`
	Description    *string      `json:"description,omitempty" nullable:"true"`
	OrganizationID *uuid.UUID   `json:"organizationId,omitempty" nullable:"true" doc:"The caller's own unless given."`
	Reports        []reportBody `json:"reports,omitempty" nullable:"true" maxItems:"1000"`
}

type reportBody struct {
	Name          string   `json:"name" minLength:"1"`
	Description   *string  `json:"description,omitempty" nullable:"true"`
	Type          string   `json:"type" minLength:"1" doc:"Excel, Word, PowerPoint, Html or QlikEntity."`
	OutputFormats []string `json:"outputFormats,omitempty" nullable:"true" doc:"All that the type can be written in unless given."`
	Template      *string  `json:"template,omitempty" nullable:"true" doc:"Name of the template's file in an imported zip."`
}

// published is the answer.
type published struct {
	ID      domain.ID         `json:"id"`
	Reports []publishedReport `json:"reports"`
}

type publishedReport struct {
	ID   domain.ID `json:"id"`
	Name string    `json:"name"`
}

type publishProject struct{ Body document }

func registerProjects(w *writes) {
	tags := []string{"Project"}
	httpx.Register(w.API, httpx.Op{ID: "publish-project", Method: http.MethodPost, Path: "/projects", Summary: "Publish a project with its reports", Tags: tags,
		Permission: "projects.create", Success: http.StatusCreated, MaxBody: maxDocument, Returns: published{}},
		func(ctx context.Context, in *publishProject) (*httpx.Raw, error) { return w.publish(ctx, in.Body, nil) })
	registerImport(w)
}

// publish makes a project of a document and the files that came with it.
func (w *writes) publish(ctx context.Context, d document, files *archive) (*httpx.Raw, error) {
	command := d.command(ctx)
	// What can be refused without the templates is refused before any is kept.
	if err := commands.Check(ctx, w.Bus, command); err != nil {
		return nil, err
	}
	if err := w.keepTemplates(ctx, d, command.Reports, files); err != nil {
		return nil, err
	}
	done, err := commands.Send(ctx, w.Bus, command)
	if err != nil {
		return nil, err
	}
	answer := published{ID: done.State.ID, Reports: make([]publishedReport, len(done.State.Reports))}
	for i, r := range done.State.Reports {
		answer.Reports[i] = publishedReport{r.ID, r.Name}
	}
	return httpx.JSON(http.StatusCreated, answer)
}

func (d document) command(ctx context.Context) commanded.PublishProject {
	c := commanded.PublishProject{ID: commands.NewID(ctx), Details: commanded.Details{Name: d.Name, Description: text(d.Description)},
		Reports: make([]reporting.Report, len(d.Reports))}
	if d.OrganizationID != nil {
		c.OrganizationID = *d.OrganizationID
	}
	for i, r := range d.Reports {
		c.Reports[i] = reporting.Report{ID: commands.NewID(ctx), Name: r.Name, Description: text(r.Description), Type: r.Type, OutputFormats: r.OutputFormats}
	}
	return c
}

// keepTemplates stores the templates that reports name, each file once.
func (w *writes) keepTemplates(ctx context.Context, d document, reports []reporting.Report, files *archive) error {
	var problems fault.Problems
	for i, r := range d.Reports {
		if name := text(r.Template); name != "" && !files.has(name) {
			problems.Add(templatePath(i), "%q is not among the files that came with the project", name)
		}
	}
	if err := problems.Err(); err != nil {
		return err
	}
	kept := make(map[string]*reporting.Blob)
	for i, r := range d.Reports {
		name := text(r.Template)
		if name == "" {
			continue
		}
		if kept[name] == nil {
			stored, err := files.keep(ctx, w.Blobs, name)
			if err != nil {
				return err
			}
			kept[name] = stored
		}
		reports[i].Template = kept[name]
	}
	return nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

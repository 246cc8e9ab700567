package qalyptus

import (
	"context"

	"docket/commands"
	commanded "docket/commands/reporting"
	"docket/domain/reporting"
	"docket/internal/httpx"

	"github.com/google/uuid"
)

type deleteProject struct {
	ID          uuid.UUID `path:"projectId"`
	DeleteFiles bool      `query:"deleteFiles" doc:"Also remove what the project's tasks published."`
}

type deleteProjects struct {
	DeleteFiles bool     `query:"deleteFiles" doc:"Also remove what the projects' tasks published."`
	Body        []entity `maxItems:"1000"`
}

func registerProjects(w *writes) {
	tags := []string{"Project"}
	remove(w, httpx.Op{ID: "73", Path: "/projects/{projectId}", Summary: "Delete project", Tags: tags, Permission: "projects.delete"},
		func(ctx context.Context, in *deleteProject) (*httpx.Raw, error) {
			return blank(commands.Send(ctx, w.Bus, commanded.DeleteProject{ID: in.ID, DeleteFiles: in.DeleteFiles}))
		})
	remove(w, httpx.Op{ID: "72", Path: "/projects", Summary: "Delete projects", Tags: tags, Permission: "projects.delete"},
		func(ctx context.Context, in *deleteProjects) (*httpx.Raw, error) {
			return blank(commands.SendAll(ctx, w.Bus, each(in.Body, func(e entity) commands.Command[reporting.Project] {
				return commanded.DeleteProject{ID: e.ID, DeleteFiles: in.DeleteFiles}
			})...))
		})
}

package qalyptus

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/reporting"
	"docket/domain"
	"docket/domain/reporting"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"

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
	answer := qalyptus.Envelope[*string]{}
	httpx.Register(w.API, httpx.Op{ID: "73", Method: http.MethodDelete, Path: "/projects/{projectId}", Summary: "Delete project", Tags: tags,
		Permission: "projects.delete", Returns: answer},
		func(ctx context.Context, in *deleteProject) (*httpx.Raw, error) {
			return w.deleteProjects(ctx, []domain.ID{in.ID}, in.DeleteFiles)
		})
	httpx.Register(w.API, httpx.Op{ID: "72", Method: http.MethodDelete, Path: "/projects", Summary: "Delete projects", Tags: tags,
		Permission: "projects.delete", Returns: answer},
		func(ctx context.Context, in *deleteProjects) (*httpx.Raw, error) {
			return w.deleteProjects(ctx, idsOf(in.Body), in.DeleteFiles)
		})
}

func (w *writes) deleteProjects(ctx context.Context, list []domain.ID, files bool) (*httpx.Raw, error) {
	err := sendAll(ctx, w.Bus, list, func(id domain.ID) commands.Command[reporting.Project] {
		return commanded.DeleteProject{ID: id, DeleteFiles: files}
	})
	if err != nil {
		return nil, err
	}
	return qalyptus.Done(), nil
}

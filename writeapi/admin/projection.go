package admin

import (
	"context"
	"net/http"
	"time"

	"docket/domain"
	"docket/internal/httpx"

	"github.com/google/uuid"
)

// verifyTime bounds a verification: it reads the whole log.
const verifyTime = time.Hour

// Verification is how read models compare with what the log says.
type Verification struct {
	Group       string       `json:"group"`
	Version     string       `json:"version"`
	Position    int64        `json:"position" doc:"At which both were compared."`
	Rows        int64        `json:"rows" doc:"Live rows, counters included."`
	Differences int64        `json:"differences"`
	Examples    []Difference `json:"examples" doc:"The first of them."`
	Seconds     float64      `json:"seconds"`
}

// Difference is a row that is not what the log says.
type Difference struct {
	Table   string   `json:"table"`
	Key     string   `json:"key"`
	Kind    string   `json:"kind" enum:"extra,missing,different"`
	Columns []string `json:"columns" doc:"That differ; never their values."`
}

type group struct {
	Group string `path:"group"`
}

type skip struct {
	Group string `path:"group"`
	Body  struct {
		EventID uuid.UUID `json:"eventId"`
		Reason  string    `json:"reason" minLength:"1" maxLength:"1000" doc:"Kept beside the skip for ever."`
	}
}

type rebuilding struct {
	Body struct {
		Group string `json:"group"`
	}
}

type verification struct{ Body Verification }

func registerProjections(w *writes) {
	tags, permission := []string{"Projections"}, "operations.edit"
	httpx.Register(w.API, httpx.Op{ID: "rebuild-projection", Method: http.MethodPost, Path: "/projections/{group}/rebuild", Summary: "Build a group anew from the whole log", Tags: tags,
		Description: "Answers when it is under way; GET /projections shows how far it is. Reads go on from the old tables until the new ones are swapped in.",
		Permission:  permission, Success: http.StatusAccepted},
		func(ctx context.Context, in *group) (*rebuilding, error) {
			w.log(ctx, "rebuild", in.Group)
			if err := w.Operations.Rebuild(ctx, in.Group); err != nil {
				return nil, err
			}
			out := &rebuilding{}
			out.Body.Group = in.Group
			return out, nil
		})
	httpx.Register(w.API, httpx.Op{ID: "verify-projection", Method: http.MethodPost, Path: "/projections/{group}/verify", Summary: "Compare a group with what the log says", Tags: tags,
		Permission: permission, Timeout: verifyTime},
		func(ctx context.Context, in *group) (*verification, error) {
			w.log(ctx, "verify", in.Group)
			report, err := w.Operations.Verify(ctx, in.Group)
			if err != nil {
				return nil, err
			}
			return &verification{report}, nil
		})
	httpx.Register(w.API, httpx.Op{ID: "skip-event", Method: http.MethodPost, Path: "/projections/{group}/skip", Summary: "Leave out the event that a group is stopped at", Tags: tags,
		Description: "The group goes on without the event, now and in every rebuild. Who did it and why is kept.",
		Permission:  permission, Success: http.StatusNoContent},
		func(ctx context.Context, in *skip) (*struct{}, error) {
			w.log(ctx, "skip", in.Group, "event", in.Body.EventID)
			return nil, w.Operations.Skip(ctx, in.Group, in.Body.EventID, in.Body.Reason)
		})
}

// log says who works on read models.
func (w *writes) log(ctx context.Context, what, group string, more ...any) {
	w.asks(ctx, "projections", what, append([]any{"group", group}, more...)...)
}

// asks says which operator wants what of a part of the program: no event does.
func (w *writes) asks(ctx context.Context, part, what string, more ...any) {
	actor, _ := domain.ActorOf(ctx) // the operation asks for a permission, so there is one
	attributes := append([]any{"operation", what, "actor", actor.UserID, "request_id", httpx.From(ctx).ID}, more...)
	if actor.KeyID != nil {
		attributes = append(attributes, "api_key", *actor.KeyID)
	}
	w.Logger.InfoContext(ctx, part+": an operator asks", attributes...)
}

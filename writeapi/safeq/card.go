package safeq

import (
	"context"

	"docket/commands"
	commanded "docket/commands/printing"
	"docket/domain"
	"docket/domain/fault"
	"docket/domain/printing"
	"docket/internal/httpx"
	"docket/readapi/safeq"
)

// atOnce is how many documents a card releases at a time.
const atOnce = 500

type cardIn struct {
	Card   string `query:"cd" required:"true" minLength:"1" doc:"Id of the card."`
	Reader string `query:"Mac" required:"true" minLength:"1" doc:"Address of the card reader beside the printer."`
}

func registerCard(w *writes) {
	for id, method := range map[string]string{"43a": get, "43b": post} {
		summary := "Release all documents of a card's user"
		if method == post {
			summary += " (POST)"
		}
		add(w, httpx.Op{ID: id, Method: method, Path: safeq.Base + "/card", Alias: []string{safeq.Base + "/card/"}, Summary: summary, Tags: []string{"Card reader"}, Changes: true,
			Description: "Parameters are those of the query with both methods."}, safeq.Needs{},
			func(ctx context.Context, in *cardIn) (*codeAnswer, error) {
				if err := w.releaseAll(ctx, in.Card, in.Reader); err != nil {
					return nil, err
				}
				return &codeAnswer{}, nil
			})
	}
}

// releaseAll sends what waits for a card's user to the printer beside a reader.
func (w *writes) releaseAll(ctx context.Context, card, reader string) error {
	id := safeq.CallerOf(ctx).Account.ID.String() + "/card/" + domain.Normal(card)
	if err := w.patience(ctx, id); err != nil {
		return err
	}
	person, err := w.identify(ctx, byCard, card)
	if err != nil {
		return err
	}
	if person == nil {
		w.failed(ctx, id)
		return fault.InvalidQuery("cd", "is no user's card")
	}
	printer, err := w.Reads.PrinterOfReader(ctx, reader)
	if err != nil {
		return err
	}
	if printer == nil {
		return fault.InvalidQuery("Mac", "is no printer's card reader")
	}
	if ctx, err = w.asUser(ctx, *person); err != nil {
		return err
	}
	_, err = commands.Together(ctx, w.Bus, func(ctx context.Context) error { return w.releaseOf(ctx, person.ID, printer.ID) })
	return err
}

// releaseOf releases the documents of a user that are ready. One that is not any
// more when its turn comes is passed over.
func (w *writes) releaseOf(ctx context.Context, user, printer domain.ID) error {
	ids, err := w.Reads.Waiting(ctx, []domain.ID{user}, []int{int(printing.Ready)}, atOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		err := sent(ctx, w, commanded.ReleaseDocument{ID: id, ReleaseID: commands.NewID(ctx), OutputPortID: printer})
		if err != nil && fault.Of(err).Code != commanded.CodeNotReady {
			return err
		}
	}
	return nil
}

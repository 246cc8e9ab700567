package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"docket/commands/reactors"
	"docket/domain/directory"
	"docket/eventstore"
	"docket/internal/postgres"
	"docket/projections"

	"github.com/jackc/pgx/v5"
)

// installationSteps make the table that says what a database belongs to.
var installationSteps = []string{
	`create table mark (one boolean primary key default true check (one), mark text not null)`,
	`alter table mark add column log text not null default ''`,
}

// sameInstallation refuses a database whose secrets were made with another key:
// nothing sealed in it would open, and its read models are of another log.
func (s *stores) sameInstallation(ctx context.Context) error {
	if err := postgres.Migrate(ctx, s.pools.Main, "installation", installationSteps); err != nil {
		return err
	}
	mine := s.vault.HMAC("installation", "")
	var there string
	err := s.pools.Main.QueryRow(ctx, `insert into installation.mark as m (mark) values ($1) on conflict (one) do update set mark = m.mark returning mark`, mine).Scan(&there)
	if err != nil {
		return err
	}
	if there != mine {
		where := "the one in DOCKET_POSTGRES_URL"
		if s.private != nil {
			where = "in " + s.private.DataDir()
		}
		return fmt.Errorf("the PostgreSQL database (%s) belongs to another installation: its secrets were made with another key than this data folder's secret.key or DOCKET_SECRET_KEY; bring that key back, or start with an empty database", where)
	}
	return nil
}

// sameLog finds out whether the log is the one that positions in the database are of. A copy on another server holds the
// same events at other positions: read models are then built again, and reactors begin again. Another log is refused.
func (s *stores) sameLog(ctx context.Context, logger *slog.Logger) error {
	mine, err := s.logMark(ctx)
	if errors.Is(err, eventstore.ErrUnavailable) {
		logger.Warn("event store: it is away, so whether it is still the same could not be seen", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.pools.Main, func(tx pgx.Tx) error {
		var there string
		if err := tx.QueryRow(ctx, `select log from installation.mark for update`).Scan(&there); err != nil || there == mine {
			return err
		}
		switch {
		case there == "": // a new installation, or one from before there was a mark
		case firstEvent(there) != firstEvent(mine):
			return errors.New("the event store holds another log than the one this database was made from; bring that back, or start with an empty database")
		default:
			logger.Warn("event store: this is a copy of the log at other positions; read models are built again and reactors begin again")
			if err := errors.Join(projections.Forget(ctx, tx), reactors.Forget(ctx, tx)); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `update installation.mark set log = $1`, mine)
		return err
	})
}

// logMark tells logs apart by the first administrator's first event: its id, which a copy has too, its position and when it
// was recorded, which a copy has not. A log without an installation has none.
func (s *stores) logMark(ctx context.Context) (string, error) {
	for e, err := range s.log.Load(ctx, directory.APIKeyStream(directory.BootstrapKeyID), 0) {
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s %d %d", e.ID, e.Position, e.Created.UnixMicro()), nil
	}
	return "", nil
}

// firstEvent is the id in a mark.
func firstEvent(mark string) string {
	id, _, _ := strings.Cut(mark, " ")
	return id
}

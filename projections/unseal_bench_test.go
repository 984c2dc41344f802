package projections

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/domain"
	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/keyring"
)

// benchedPersons are as many new persons as a batch of a busy log has.
const benchedPersons = 30

// BenchmarkPersons is what the two views of entities make of new persons, from their events
// to the parameters of the statements: with three attributes sealed, each by a key of its
// own, and with none.
func BenchmarkPersons(b *testing.B) {
	url := hubtest.Database(b, hubtest.Log())
	masters, err := keyring.NewMasters(bytes.Repeat([]byte{7}, 32))
	require.NoError(b, err)
	options := Options{
		Codec: eventstore.NewCodec(entity.Kinds()...),
		Keys:  keyring.New(keyring.Options{Pool: hubtest.Pool(b, url, string(eventstore.RoleProjector)), Masters: masters}),
	}
	for _, sealed := range []bool{false, true} {
		events := persons(b, options, sealed)
		for _, projection := range []Projection{Entities(), EntityHistory()} {
			w := &writer{options: options, projection: projection}
			b.Run(fmt.Sprintf("%s/sealed=%t", projection.Name, sealed), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					handled, _, err := w.sort(events)
					if err == nil {
						err = w.unseal(b.Context(), handled)
					}
					if err == nil {
						err = applyTo(projection, &pgx.Batch{}, "s", handled)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*benchedPersons), "µs/person")
			})
		}
	}
}

// persons are the events of new ones, whose keys the options' keyring has in memory.
func persons(b *testing.B, options Options, sealed bool) (events []domain.Event) {
	b.Helper()
	for i := range benchedPersons {
		e := domain.Event{ID: uuid.Must(uuid.NewV7()), Org: "acme", Version: 1, Position: int64(i) + 1, RecordedAt: time.Now(), Actor: domain.Actor{Sub: "ana"}}
		id := uuid.Must(uuid.NewV7())
		e.Stream = entity.Stream(id)
		key, err := options.Keys.New(keyring.Ref{Org: e.Org, Subject: id.String()})
		require.NoError(b, err)
		options.Keys.Remember([]*keyring.Key{key})
		attributes := map[string]json.RawMessage{"name": json.RawMessage(`"Ana"`), "city": json.RawMessage(`"Paris"`)}
		for name, value := range map[string]string{"email": "ana@example.com", "phone": "+33 1 23 45", "birthday": "1990-01-01"} {
			text, err := json.Marshal(value)
			require.NoError(b, err)
			if attributes[name] = text; sealed {
				at := keyring.Place{Event: e.ID, Pointer: entity.AttributePointer(name)}
				value, err := keyring.Keys{{Org: e.Org, Subject: id.String()}: key}.Seal(e.Org, at, domain.NewSecret(text, true, id.String()))
				require.NoError(b, err)
				attributes[name] = value.Data()
			}
		}
		e.Type, e.SchemaVersion, e.Data, err = options.Codec.Encode(entity.Created{Type: "person", TypeVersion: 1, Attributes: attributes, Tags: []string{}})
		require.NoError(b, err)
		events = append(events, e)
	}
	return events
}

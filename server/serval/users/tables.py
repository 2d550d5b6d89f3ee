"""The tables of users, their logins and their API keys."""

from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from serval.auth.caller import Role, Scope
from serval.db.base import CreatedAt, Json, Moment, Table


class User(Table):
    """A user; `username` is the `owner` in `owner/name`."""

    __tablename__ = "users"
    __table_args__ = (Index(None, "email", unique=True),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    username: Mapped[str] = mapped_column(String(50), unique=True)
    email: Mapped[str | None] = mapped_column(String(254))
    """In lower case."""
    full_name: Mapped[str] = mapped_column(String(100), default="", server_default="")
    role: Mapped[Role] = mapped_column(String(10))
    subscription_tier: Mapped[str] = mapped_column(String(40), default="default", server_default="default")
    """Name of the plan in the settings whose limits apply."""
    password_hash: Mapped[str | None] = mapped_column(Text)
    """Argon2id, or an imported bcrypt hash until the next login; None: no login with a password."""
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """What the files of their models take on disk, deleted models included."""
    created_at: Mapped[CreatedAt]
    last_login_at: Mapped[Moment | None]
    disabled_at: Mapped[Moment | None]

    @classmethod
    def called(cls, reference: str) -> ColumnElement[bool]:
        """Return the condition for the user with an id or username."""
        return cls.id == reference if reference.startswith("usr_") else cls.username == reference


class ApiKey(Table):
    """A key for programs. Only its SHA-256 is stored; people recognise it by its `prefix`."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "user_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    prefix: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[list[Scope]] = mapped_column(Json)
    models: Mapped[list[str] | None] = mapped_column(Json)
    """Ids of the models that it is restricted to; None: every model that its user may use."""
    predict_rate: Mapped[str | None] = mapped_column(String(20))
    """In the format of `serval.settings.plans.RateText`."""
    monthly_quota: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]
    last_used_at: Mapped[Moment | None]
    replaced_by: Mapped[str | None] = mapped_column(String(40))
    """Id of its newest successor."""
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    def is_valid(self, at: datetime) -> bool:
        """Whether the key is valid at a moment."""
        return (
            self.revoked_at is None
            and (self.expires_at is None or self.expires_at > at)
            and self.user.disabled_at is None
        )


class KeyUsage(Table):
    """The predictions of a key in a calendar month (UTC), written in bulk."""

    __tablename__ = "key_usage"

    key_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    """`2026-11`."""
    predictions: Mapped[int] = mapped_column(BigInteger)


class LoginSession(Table):
    """A login, which owns single-use refresh tokens."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    address: Mapped[str] = mapped_column(String(45))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment]
    """Later with each refresh."""
    ended_at: Mapped[Moment | None]
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class RefreshToken(Table):
    """A refresh token, by its SHA-256. Reusing one after it was replaced ends its session."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index(None, "session_id"),)

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    created_at: Mapped[CreatedAt]
    used_at: Mapped[Moment | None]
    session: Mapped[LoginSession] = relationship(lazy="joined", innerjoin=True)


class SigningKey(Table):
    """A key that signs access tokens; `id` is their `kid`. The newest one signs."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[CreatedAt]

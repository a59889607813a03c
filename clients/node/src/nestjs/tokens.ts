// Names by which Nest finds what is here.
import { Inject } from "@nestjs/common";

/** The token of the client. */
export const BEAR = Symbol("bear");
/** The token of what `BearModule.forRoot` was given. */
export const BEAR_OPTIONS = Symbol("bear:options");

/** The client, in a constructor or on a property. */
export const InjectBear = (): PropertyDecorator & ParameterDecorator => Inject(BEAR);

import { PartialType } from "@nestjs/mapped-types";
import { Type } from "class-transformer";
import { IsEmail, IsHexColor, IsInt, IsNotEmpty, IsOptional, IsString, Length, Max, Min } from "class-validator";

export class BearDto {
  @IsString() @IsNotEmpty() name!: string;
  @IsInt() @Min(1) size!: number;
  @IsOptional() @IsString({ each: true }) colors?: string[];
}

export class ChangesDto extends PartialType(BearDto) {}

export class SizesDto {
  @Type(() => Number) @IsInt() @Min(0) from: number = 0;
  @Type(() => Number) @IsInt() @Max(Number.MAX_SAFE_INTEGER) to: number = Number.MAX_SAFE_INTEGER;
}

export class ColorDto {
  @IsString() @IsNotEmpty() name!: string;
  @IsHexColor() @Length(7, 7) hex!: string;
}

export class EmailDto {
  @IsEmail() to!: string;
  @IsString() @IsNotEmpty() subject!: string;
  @IsString() text!: string;
}
